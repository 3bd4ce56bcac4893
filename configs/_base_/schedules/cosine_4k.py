# Warm-up and cosine decay over 4,000 iterations. A config whose base has another
# schedule takes it: `param_scheduler = _base_.pop('cosine_4k')`.
cosine_4k = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=200,
        end=4000,
        T_max=3800),
]
