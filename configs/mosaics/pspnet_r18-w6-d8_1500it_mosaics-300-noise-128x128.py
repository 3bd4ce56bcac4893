# The student of the embedded segmentation benchmark, alone, that sees noisy images:
# PSPNet, ResNet-18 of base width 6, from random weights, 300 labelled images, 1,500
# iterations.
# Run:    python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-noise-128x128.py
# Cost and result: not run yet.
_base_ = ['../_base_/mosaics_noise_student.py']
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
