# Structured distillation: DeepLabV3 R101 teaches MobileNetV2, Cityscapes, 80k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-full_dl3-r101_dl3-mv2_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    'mmseg::mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill.py',
    '../_base_/teachers/dl3-r101_80k_cityscapes-512x1024.py',
    '../_base_/methods/skd.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    pairs=_base_.pop('skd'))
