# Feature-based distillation of the neck: Faster R-CNN R101 teaches R50, COCO, 1x.
# Zhang and Ma, ICLR 2021, https://openreview.net/forum?id=uKhGRvM8QNH
# Run:    python tools/train.py configs/fbkd/fbkd-neck_frcnn-r101_frcnn-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
            'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth')),
    pairs=dict(
        # The first four of five levels, added up as in the paper.
        neck=dict(
            layer='neck',
            levels=[0, 1, 2, 3],
            levels_reduction='sum',
            loss=dict(type='FBKDLoss'))))
