# CrossKD: the teacher's head goes on from the student's, on digits in photographs.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 10 minutes on one of two busy cores; 57.9 ± 0.9 mAP, the same start
# 43.4 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
_base_ = ['../_base_/distill/gfl-w32_gfl-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # The teacher's head goes on from what the student's first convolutions give:
        # the first of two, as the paper takes the third of four.
        cls=dict(
            view=dict(type='cross.logits', layer=1),
            loss=dict(type='CrossKDLoss')),
        reg=dict(
            view=dict(type='cross.distributions', layer=1),
            loss=dict(type='LDLoss', temperature=1.0, loss_weight=4.0))))
