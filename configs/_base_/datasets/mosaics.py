# Mosaics of photographs: 3,000 training images (300 of them in train_300.txt) and 400
# for validation, 128x128, thirteen classes. A plain BaseSegDataset: the hook makes the
# files on first use (about 30 s), below $KD_PLUGINS_DATA or ./data.
# As a statement, since two bases must not both have `custom_imports`:
__import__('kd_plugins')

dataset_type = 'BaseSegDataset'
data_root = '{{$KD_PLUGINS_DATA:data}}/mosaics/'
metainfo = dict(
    classes=(
        'brick', 'chelsea', 'china', 'coffee', 'coins', 'flower', 'grass',
        'gravel', 'hubble', 'ihc', 'moon', 'motorcycle', 'retina'),
    palette=[
        [178, 76, 60], [222, 160, 90], [60, 140, 70], [120, 60, 30], [150, 150, 160],
        [255, 140, 60], [110, 200, 60], [90, 90, 100], [20, 20, 90], [190, 170, 230],
        [220, 220, 220], [230, 30, 50], [255, 120, 140]])
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', backend_args=backend_args),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='splits/train.txt',
        img_suffix='.jpg',
        seg_map_suffix='.png',
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=train_pipeline,
        backend_args=backend_args))
val_dataloader = dict(
    batch_size=20,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='splits/val.txt',
        img_suffix='.jpg',
        seg_map_suffix='.png',
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'),
        test_mode=True,
        pipeline=test_pipeline,
        backend_args=backend_args))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

custom_hooks = [
    dict(type='kd_plugins.PrepareDataHook', dataset='mosaics', root=data_root),
]
