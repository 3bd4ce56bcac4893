# Soft labels of mixed images, logits over their deviation, on mosaics of photographs.
# Choi et al., WACV 2023, arXiv:2211.03946
# Run:    python tools/train.py \
#     configs/mixkd/mixkd-full_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Student alone on mixed images:  the same, with --cfg-options \
#     model.pairs.logits.loss.loss_weight=0 model.task_loss_weights=None
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    # Weights of the paper's code: 0.1 of the labels, 0.9 of the teacher.
    task_loss_weights={'*': 0.1},
    pairs=dict(
        # The teacher has learned from images that are not mixed, and sees the mixed
        # ones. Temperature of the paper.
        logits=dict(
            view='seg.logits',
            target_transform=dict(type='StdScalingTransform'),
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=0.9))))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='kd_plugins.MixedBatchesHook', alpha=1.0, share=1.0),
]
