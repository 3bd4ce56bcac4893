# The student of the embedded detection benchmark, alone: Faster R-CNN, ResNet-18 of
# base width 16, from random weights, 300 labelled images, 1,000 iterations.
# Run:    python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# Cost and result: 5 minutes on one of two busy cores; 18.5 ± 1.3 mAP (seeds 0 to 2,
# 500 validation images).
_base_ = ['../_base_/digits_student.py']
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
