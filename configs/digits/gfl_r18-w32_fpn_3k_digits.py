# The one-stage teacher of the embedded detection benchmark: GFL, ResNet-18 of base
# width 32, all 4,000 labelled images, 3,000 iterations.
# Run:    OMP_NUM_THREADS=1 python tools/train.py \
#     configs/digits/gfl_r18-w32_fpn_3k_digits.py
# Cost and result: 25 minutes on one of two busy cores; 73.4 mAP on the 500 validation
# images (seed 0). Its weights, in half precision, lie beside this file.
_base_ = [
    '../_base_/models/gfl_r18_digits.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/schedule_scratch.py',
    '../_base_/digits_runtime.py',
]
train_cfg = dict(max_iters=3000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=200,
        end=3000,
        T_max=2800),
]
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
