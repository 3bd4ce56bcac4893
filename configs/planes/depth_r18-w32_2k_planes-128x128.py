# The teacher of the embedded depth benchmark: ResNet-18 of base width 32, all 3,000
# training images, 2,000 iterations.
# Run:    OMP_NUM_THREADS=1 python tools/train.py \
#     configs/planes/depth_r18-w32_2k_planes-128x128.py
# Cost and result: 16 minutes on one of two busy cores; 1.463 RMSE in metres on the 400
# validation images (seed 0). Its weights, in half precision, lie beside this file.
_base_ = [
    '../_base_/models/depth_r18_planes.py',
    '../_base_/datasets/planes.py',
    '../_base_/schedules/schedule_scratch.py',
    '../_base_/mmseg_runtime.py',
]
train_cfg = dict(max_iters=2000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=200,
        end=2000,
        T_max=1800),
]
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
