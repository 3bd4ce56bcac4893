# Feature-based distillation of the neck, on digits in photographs.
# Zhang and Ma, ICLR 2021, https://openreview.net/forum?id=uKhGRvM8QNH
# Run:    python tools/train.py \
#     configs/fbkd/fbkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 9 minutes on one of two busy cores; 46.2 mAP, the same start 36.7
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # Features under attention, the attention itself, and non-local relations, in
        # the proportions for two-stage detectors; as in the paper, the levels are added
        # up. At a loss_weight of 1 the gradient would be 0.027 of the task's here
        # (tools/analyze.py, at a student that was trained without it); 37 gives 1.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            loss=dict(type='FBKDLoss', loss_weight=37.0))))
