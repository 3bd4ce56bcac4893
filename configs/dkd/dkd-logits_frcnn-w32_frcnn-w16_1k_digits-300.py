# Decoupled distillation of the classes of RoIs, on digits in photographs.
# Zhao et al., CVPR 2022, arXiv:2203.08679
# Run:    python tools/train.py \
#     configs/dkd/dkd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 6 minutes on one of two busy cores; 40.5 mAP, the same start 36.7
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # Is it this class, and which of the others is it like? Both heads judge the
        # same boxes. Values of the paper for detection.
        logits=dict(
            view='roi.logits',
            loss=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0))))
