# Soft labels of RoIs on mixed images, logits over their deviation, on digits in
# photographs.
# Choi et al., WACV 2023, arXiv:2211.03946; boxes are ours.
# Run:    python tools/train.py \
#     configs/mixkd/mixkd-full_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# The same start, nothing mixed or distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # The weight and temperature of the paper. Its weight of the labels, 0.1, is not
        # taken: a box is learned from labels alone.
        logits=dict(
            view='roi.logits',
            target_transform=dict(type='StdScalingTransform'),
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=0.9))))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='kd_plugins.MixedBatchesHook', alpha=1.0, share=1.0),
]
