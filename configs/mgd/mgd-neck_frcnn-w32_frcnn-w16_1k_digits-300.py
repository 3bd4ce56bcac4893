# Masked generative distillation of the neck, on digits in photographs.
# Yang et al., ECCV 2022, arXiv:2205.01529
# Run:    python tools/train.py \
#     configs/mgd/mgd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 11 minutes on one of two busy cores; 49.2 ± 1.0 mAP, the same start
# 37.7 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # From a neck of which 45 % of the pixels are masked the teacher's is made.
        # As in the paper, the levels are added up. At its weight for two-stage
        # detectors, 5e-7, the gradient would be 0.0023 of the task's here
        # (tools/analyze.py, at a student that was trained without it); 2.2e-4 gives 1.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            loss=dict(type='MGDLoss', masked_ratio=0.45, loss_weight=2.2e-4))))
