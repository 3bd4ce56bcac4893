# Localization distillation, on digits in photographs.
# Zheng et al., CVPR 2022, arXiv:2102.12252
# Run:    python tools/train.py \
#     configs/ld/ld-main-vlr_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 12 minutes on one of two busy cores; 52.8 ± 1.8 mAP, the same start
# 43.4 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
_base_ = [
    '../_base_/distill/gfl-w32_gfl-w16_1k_digits-300.py',
    '../_base_/methods/ld.py',
]
model = dict(pairs=_base_.pop('ld'))
