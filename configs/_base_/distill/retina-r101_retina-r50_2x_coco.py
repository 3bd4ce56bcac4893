# RetinaNet R101 teaches R50, COCO, 2x. What is compared there inherits it and adds its
# pairs.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_2x_coco.py',
    '../distill.py',
    '../teachers/retina-r101_2x_coco.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'))
