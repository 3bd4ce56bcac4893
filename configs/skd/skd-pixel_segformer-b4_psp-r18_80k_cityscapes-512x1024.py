# Pixel-wise: a transformer, SegFormer B4, teaches a PSPNet R18, Cityscapes, 80k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pixel_segformer-b4_psp-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill.py',
    '../_base_/teachers/segformer-b4_160k_cityscapes-1024x1024.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    pairs=dict(
        # The teacher's logits, at stride 4, are brought to the student's stride 8.
        pixel=dict(
            view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0))))
