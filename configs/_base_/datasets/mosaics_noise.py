# Mosaics under noise. A config whose base has the pipelines of mosaics.py takes them:
# `train_pipeline, test_pipeline = _base_.pop('mosaics_noise')`.
mosaics_noise = (
    [
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='LoadAnnotations', backend_args=None),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='kd_plugins.GaussianNoise', std=50.0),
        dict(type='PackSegInputs'),
    ],
    # Of each validation image the same noise every time.
    [
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='LoadAnnotations', backend_args=None),
        dict(type='kd_plugins.GaussianNoise', std=50.0, seed=0),
        dict(type='PackSegInputs'),
    ],
)
