# The protocol of the embedded depth benchmark, in this one place: which student, how
# many measured images, how long. The baseline and every distillation inherit this file.
_base_ = [
    './models/depth_r18_planes.py',
    './datasets/planes.py',
    './schedules/schedule_scratch.py',
    './mmseg_runtime.py',
]
# Half the teacher's width, the narrowest that the head takes, and half its decoder.
model = dict(
    backbone=dict(base_channels=16, stem_channels=16),
    decode_head=dict(
        in_channels=[16, 32, 64, 128],
        embed_dim=8,
        feature_dim=64,
        num_deconv_filters=(16, 16)))
# The rate at which the student alone ends lowest, of 1e-3, 4e-3 and its doublings up to
# 6.4e-2: 1.81, 1.76, 1.74, 1.69, 1.64 and 1.71 m RMSE (one seed, the last 200 training
# images, which it does not see).
optim_wrapper = dict(optimizer=dict(lr=3.2e-2))
# The first 300 of the 3,000 images that the teacher learned from.
train_dataloader = dict(dataset=dict(indices=300))
train_cfg = dict(max_iters=1000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=1000,
        T_max=900),
]
