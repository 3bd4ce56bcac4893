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
    '../_base_/mmseg_runtime.py',
]
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=200,
        end=4000,
        T_max=3800),
]
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
