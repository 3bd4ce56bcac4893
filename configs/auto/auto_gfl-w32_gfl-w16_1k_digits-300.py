# Pairs chosen by what both models are, of one stage, on digits in photographs: the neck
# by PKD (Cao et al., NeurIPS 2022, arXiv:2207.02039), where each edge of a box may lie
# by LD (Zheng et al., CVPR 2022, arXiv:2102.12252).
# Run:    python tools/train.py \
#     configs/auto/auto_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 4 minutes on one of two cores; 59.1 ± 2.0 mAP, the same start
# 43.4 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
_base_ = ['../_base_/distill/gfl-w32_gfl-w16_1k_digits-300.py']
model = dict(pairs=dict(type='auto'))
