# The protocol of the embedded segmentation benchmark, in this one place: which student,
# how many labels, how long. The baseline and every distillation inherit this file.
_base_ = [
    './models/pspnet_r18_mosaics.py',
    './datasets/mosaics.py',
    './schedules/schedule_scratch.py',
    './mmseg_runtime.py',
]
# A quarter of the teacher's width.
model = dict(
    backbone=dict(base_channels=6, stem_channels=6),
    decode_head=dict(in_channels=48, channels=24),
    auxiliary_head=dict(in_channels=24, channels=6))
# The rate at which the student alone ends highest, of 1e-3 and its doublings up to
# 32e-3: 24.1, 27.9, 32.6, 35.2, 36.5 and 32.6 mIoU (one seed, 200 other images of the
# kind).
optim_wrapper = dict(optimizer=dict(lr=1.6e-2))
# The first 300 of the 3,000 images that the teacher learned from.
train_dataloader = dict(dataset=dict(ann_file='splits/train_300.txt'))
train_cfg = dict(max_iters=1500, val_interval=1500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=1500,
        T_max=1400),
]
