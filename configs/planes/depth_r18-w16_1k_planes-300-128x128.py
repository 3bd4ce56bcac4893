# The student of the embedded depth benchmark, alone: ResNet-18 of base width 16, from
# random weights, 300 training images, 1,000 iterations.
# Run:    python tools/train.py \
#     configs/planes/depth_r18-w16_1k_planes-300-128x128.py
# Cost and result: not run yet.
_base_ = ['../_base_/planes_student.py']
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
