# Planes in haze: 3,000 training images and 400 for validation, 128x128, with depths of
# up to ten metres, laid out as NYU Depth. A plain NYUDataset: the hook makes the files
# on first use (about 40 s), below $KD_PLUGINS_DATA or ./data.
# As a statement, since two bases must not both have `custom_imports`:
__import__('kd_plugins')

dataset_type = 'NYUDataset'
data_root = '{{$KD_PLUGINS_DATA:data}}/planes/'
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    # From millimetres; 0 is not measured.
    dict(
        type='LoadDepthAnnotation',
        depth_rescale_factor=1e-3,
        backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(
        type='LoadDepthAnnotation',
        depth_rescale_factor=1e-3,
        backend_args=backend_args),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(
            img_path='images/train', depth_map_path='annotations/train'),
        pipeline=train_pipeline,
        backend_args=backend_args))
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='images/val', depth_map_path='annotations/val'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='DepthMetric', min_depth_eval=1e-3, max_depth_eval=10.0)
test_evaluator = val_evaluator

custom_hooks = [
    dict(type='kd_plugins.PrepareDataHook', dataset='planes', root=data_root),
]
