# DeepLabV3 R101 teaches R18, Cityscapes, 80k. What is compared there inherits it and
# adds its pairs.
_base_ = [
    'mmseg::deeplabv3/deeplabv3_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../distill.py',
    '../teachers/dl3-r101_80k_cityscapes-512x1024.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'))
