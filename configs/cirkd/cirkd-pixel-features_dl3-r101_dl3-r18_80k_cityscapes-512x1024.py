# Cross-image relations and pixels: DeepLabV3 R101 teaches R18, Cityscapes, 80k.
# Yang et al., CVPR 2022, arXiv:2204.06986
# Run:    python tools/train.py \
#     configs/cirkd/cirkd-pixel-features_dl3-r101_dl3-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    'mmseg::deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmseg::deeplabv3/deeplabv3_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        checkpoint=(
            'https://download.openmmlab.com/mmsegmentation/v0.5/deeplabv3/deeplabv3_r101-d8_512x1024_80k_cityscapes/'
            'deeplabv3_r101-d8_512x1024_80k_cityscapes_20200606_113503-9e428899.pth')),
    pairs=dict(
        # The paper's total has both, with these weights.
        pixel=dict(
            view='seg.logits',
            loss=dict(type='PixelWiseLoss', temperature=1.0, loss_weight=1.0)),
        features=dict(
            view='seg.features',
            loss=dict(
                type='CIRKDLoss',
                num_classes=19,
                batch_weight=1.0,
                pixel_weight=0.1,
                region_weight=0.1))))
