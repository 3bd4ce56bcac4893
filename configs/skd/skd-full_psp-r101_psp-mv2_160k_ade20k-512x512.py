# Structured distillation: PSPNet R101 teaches MobileNetV2, ADE20K, 160k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-full_psp-r101_psp-mv2_160k_ade20k-512x512.py
# Cost and result: not run yet.  Needs: ADE20K in data/ade/.
_base_ = [
    'mmseg::mobilenet_v2/mobilenet-v2-d8_pspnet_4xb4-160k_ade20k-512x512.py',
    '../_base_/distill.py',
    '../_base_/methods/skd.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmseg::pspnet/pspnet_r101-d8_4xb4-160k_ade20k-512x512.py',
        checkpoint=(
            'https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x512_160k_ade20k/'
            'pspnet_r101-d8_512x512_160k_ade20k_20200615_100650-967c316f.pth')),
    pairs=_base_.pop('skd'))
