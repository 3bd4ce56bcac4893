# A teacher of depth: ResNet-50 under mmsegmentation's depth head, NYU Depth V2, 25k.
# mmsegmentation has no depth estimator but VPD, which wants Stable Diffusion. Of its
# config these are replaced: the backbone, and the widths of the head; inference, which
# is on whole images; in the pipeline `Albu`, which wants a package that mmsegmentation
# does not install, by PhotoMetricDistortion; the rate of the backbone, here a tenth of
# the head's.
# Run:    python tools/train.py configs/nyu/depth_r50_25k_nyu-480x480.py
# As the base, on four GPUs with eight images each:  bash tools/dist_train.sh \
#     configs/nyu/depth_r50_25k_nyu-480x480.py 4
# Cost and result: not run yet.  Needs: NYU Depth V2 in data/nyu/, as mmsegmentation's
# documentation of data sets says.
_base_ = ['mmseg::vpd/vpd_sd_4xb8-25k_nyu-480x480.py']
model = dict(
    pretrained='open-mmlab://resnet50_v1c',
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        _delete_=True,
        type='ResNetV1c',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 1, 1),
        strides=(1, 2, 2, 2),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    # The stages are joined at stride 16: two deconvolutions to the size of the image.
    decode_head=dict(
        in_channels=[256, 512, 1024, 2048],
        num_deconv_layers=2,
        num_deconv_filters=(32, 32),
        fmap_border=0),
    test_cfg=dict(_delete_=True, mode='whole'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadDepthAnnotation', depth_rescale_factor=1e-3),
    dict(type='RandomDepthMix', prob=0.25),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=(480, 480)),
    dict(type='PhotoMetricDistortion'),  # Albu in the base
    dict(
        type='PackSegInputs',
        meta_keys=(
            'img_path', 'depth_map_path', 'ori_shape', 'img_shape', 'pad_shape',
            'scale_factor', 'flip', 'flip_direction', 'category_id')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(_delete_=True, backbone=dict(lr_mult=0.1))))
find_unused_parameters = False  # parts of Stable Diffusion are unused, none of these
