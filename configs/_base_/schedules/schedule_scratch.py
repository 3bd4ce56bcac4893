# Iterations, AdamW, warm-up and cosine decay, for training from scratch on the embedded
# data. A config that inherits it sets `max_iters` in `train_cfg` and `param_scheduler`.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=5000, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=10))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=200,
        end=5000,
        T_max=4800),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
