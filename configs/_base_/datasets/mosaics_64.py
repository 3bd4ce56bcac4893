# Mosaics of half the side. A config whose base has the pipelines of mosaics.py takes
# them: `train_pipeline, test_pipeline = _base_.pop('mosaics_64')`.
mosaics_64 = (
    [
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='LoadAnnotations', backend_args=None),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='Resize', scale=(64, 64)),
        dict(type='PackSegInputs'),
    ],
    # A prediction is judged at full size, as its host resizes it.
    [
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='Resize', scale=(64, 64)),
        dict(type='LoadAnnotations', backend_args=None),
        dict(type='PackSegInputs'),
    ],
)
