# The system of Chen et al.: Cascade R-CNN R101 teaches Faster R-CNN R50, COCO, 1x.
# NIPS 2017, https://papers.nips.cc/paper/6676
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full_cascade-r101_frcnn-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/distill.py',
    '../_base_/methods/chen2017.py',
]
# The cascade's first stage judges the student's RoIs: it was trained on such ones. For
# the last: view=dict(type='roi.logits', stage=dict(student=0, teacher=2)).
# The boxes of a cascade are class-agnostic; the student's of the RoI's class meet them.
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::cascade_rcnn/cascade-rcnn_r101_fpn_20e_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/cascade_rcnn/cascade_rcnn_r101_fpn_20e_coco/'
            'cascade_rcnn_r101_fpn_20e_coco_bbox_mAP-0.425_20200504_231812-5057dcc5.pth')),
    **_base_.pop('chen2017'))
