# The teacher of the embedded segmentation benchmark on 35 % of its schedule, all of
# it: what ESKD calls early-stopped is no snapshot of a long run.
# Run:    python tools/train.py \
#     configs/mosaics/pspnet_r18-w24-d8_1400it_mosaics-128x128.py
# Cost and result: not run yet. Half and a fifth of the schedule: 2000 and 800 for 1400.
_base_ = ['./pspnet_r18-w24-d8_4k_mosaics-128x128.py']
train_cfg = dict(max_iters=1400, val_interval=1400)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=70),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=70,
        end=1400,
        T_max=1330),
]
