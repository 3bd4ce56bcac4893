# The protocol of the embedded detection benchmarks, in this one place: how many labels,
# how long. Baselines and distillations, of two stages and of one, inherit it.
_base_ = [
    './datasets/digits_detection.py',
    './schedules/schedule_scratch.py',
    './digits_runtime.py',
]
# Twice the teacher's rate: on so short a schedule both the baseline and the full
# system of Chen et al. end higher for it (one seed each). A hint's gradients are large:
# clip at 30.
optim_wrapper = dict(optimizer=dict(lr=2e-3), clip_grad=dict(max_norm=30))
# Short of labels: 300 of the 4,000 images that the teacher learned from.
train_dataloader = dict(dataset=dict(ann_file='annotations/train_300.json'))
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
