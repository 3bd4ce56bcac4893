# Pearson distillation of the neck of a one-stage detector, on digits in photographs.
# Cao et al., NeurIPS 2022, arXiv:2207.02039
# Run:    python tools/train.py \
#     configs/pkd/pkd-neck_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 6 minutes on one of two busy cores; 57.9 mAP, the same start 43.3
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
_base_ = ['../_base_/distill/gfl-w32_gfl-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # What remains of the features without their magnitude; the levels are added up
        # as in the released configurations. At their weight, 10, its gradient would be
        # nine times the task's; here it is as large (at the end of the same start).
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            loss=dict(type='PKDLoss', loss_weight=1.06))))
