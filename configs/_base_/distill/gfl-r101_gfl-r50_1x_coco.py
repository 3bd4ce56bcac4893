# GFL R101 teaches R50, COCO, 1x. What is compared there inherits it and adds its pairs.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/'
            'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth')))
