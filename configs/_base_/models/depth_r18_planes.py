# Depth of 128x128 images, up to ten metres: ResNet-18 of base width 32 under the only
# depth head of mmsegmentation. It joins the four stages at stride 16 and gives a map of
# the image's size. Trained from scratch.
model = dict(
    type='DepthEstimator',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=0,
        size=(128, 128)),
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        base_channels=32,  # the head's group norm wants a multiple of 16
        stem_channels=32,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 1, 1),
        strides=(1, 2, 2, 2),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        style='pytorch'),
    decode_head=dict(
        type='VPDDepthHead',
        in_channels=[32, 64, 128, 256],
        max_depth=10.0,
        embed_dim=16,
        feature_dim=128,  # 8 times embed_dim
        num_deconv_layers=2,
        num_deconv_filters=(32, 32),
        loss_decode=dict(type='SiLogLoss')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
