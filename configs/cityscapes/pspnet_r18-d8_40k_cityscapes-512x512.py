# A student alone: PSPNet, ResNet-18, Cityscapes, by the schedule of Liu et al. 2019:
# crops of 512x512, batches of 8, 40,000 iterations, a rate of 0.01 that decays to 0 by
# the power 0.9, a weight decay of 5e-4.
# Run:    python tools/train.py \
#     configs/cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py \
#     --cfg-options train_dataloader.batch_size=8
# On four GPUs, with two images each:  bash tools/dist_train.sh \
#     configs/cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py 4
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = ['mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py']

# Crop: 512x1024 in the base.
crop_size = (512, 512)
model = dict(data_preprocessor=dict(size=crop_size))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(2048, 1024),
        ratio_range=(0.5, 2.0),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# Schedule: 80,000 iterations in the base, down to a rate of 1e-4. The optimiser is the
# paper's already.
train_cfg = dict(max_iters=40000, val_interval=4000)
param_scheduler = [
    dict(
        type='PolyLR', eta_min=0.0, power=0.9, begin=0, end=40000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=4000))
