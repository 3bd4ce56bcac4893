# Structured distillation: DeepLabV3 R101 teaches MobileNetV2, Cityscapes, 80k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-full_dl3-r101_dl3-mv2_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    'mmseg::mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb2-80k_cityscapes-512x1024.py',
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
        pixel=dict(
            view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0)),
        pair=dict(
            layer='decode_head.bottleneck',
            loss=dict(type='PairWiseLoss', pool_kernel=2, loss_weight=10.0)),
        # The critic's own rate and weight decay; the schedule is the student's.
        holistic=dict(
            view='seg.logits', loss=dict(type='HolisticLoss', loss_weight=0.1))))
