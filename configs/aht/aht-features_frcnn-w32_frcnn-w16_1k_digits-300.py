# Attentive hints of the RoIs' features beside the task, on digits in photographs.
# Saputra et al., ICCV 2019, arXiv:1908.00858; the weight is ours.
# Run:    python tools/train.py \
#     configs/aht/aht-features_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # What are the class and the box of a RoI read from? The more the teacher errs
        # on the box, the less its features count.
        features=dict(
            view=dict(type='roi.features', target='teacher_error'),
            loss=dict(
                type='AHTLoss', normalizer='running', warmup=100, loss_weight=1.0))))
