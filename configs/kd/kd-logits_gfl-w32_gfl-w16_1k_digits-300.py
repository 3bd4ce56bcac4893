# Soft labels of all points of a one-stage head, on digits in photographs.
# Hinton et al. 2015, arXiv:1503.02531; the weight is ours.
# Run:    python tools/train.py \
#     configs/kd/kd-logits_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 49.6 mAP, the same start 43.3
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
_base_ = ['../_base_/distill/gfl-w32_gfl-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # Which classes are here? At every point of four levels, most of which hold
        # none.
        logits=dict(
            view='head.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=10.0))))
