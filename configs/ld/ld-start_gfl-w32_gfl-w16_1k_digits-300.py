# Nothing distilled: the one-stage student with the teacher's neck and head to start
# from, on its labels alone. The baseline of what is compared on it, of LD the first:
# Zheng et al., CVPR 2022, arXiv:2102.12252; on digits in photographs.
# Run:    python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 9 minutes on one of two busy cores; 43.4 ± 0.6 mAP (mean and
# deviation of seeds 0 to 2, 500 validation images).
_base_ = ['./ld-main-vlr_gfl-w32_gfl-w16_1k_digits-300.py']

model = dict(pairs=dict(main=None, vlr=None))
