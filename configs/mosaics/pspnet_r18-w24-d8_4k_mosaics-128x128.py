# The teacher of the embedded segmentation benchmark: PSPNet, ResNet-18 of base width
# 24, all 3,000 labelled images, 4,000 iterations.
# Run:    OMP_NUM_THREADS=1 python tools/train.py \
#     configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py
# Cost and result: 41 minutes on one of two busy cores; 56.2 mIoU on the 400 validation
# images (seed 0). Its weights, in half precision, lie beside this file.
_base_ = [
    '../_base_/models/pspnet_r18_mosaics.py',
    '../_base_/datasets/mosaics.py',
    '../_base_/schedules/schedule_scratch.py',
    '../_base_/schedules/cosine_4k.py',
    '../_base_/mmseg_runtime.py',
]
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = _base_.pop('cosine_4k')
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
