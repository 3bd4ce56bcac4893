# The student of the embedded one-stage benchmark, alone: GFL, ResNet-18 of base width
# 16, from random weights, 300 labelled images, 1,000 iterations.
# Run:    python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# Cost and result: 5 minutes on one of two busy cores; 23.8 ± 4.0 mAP (seeds 0 to 2,
# 500 validation images).
_base_ = ['../_base_/digits_gfl_student.py']
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
