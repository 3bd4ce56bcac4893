# The system of Chen et al.: Mask R-CNN R101 teaches Faster R-CNN R50, COCO, 1x.
# NIPS 2017, https://papers.nips.cc/paper/6676
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full_mask-r101_frcnn-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    '../_base_/distill.py',
    '../_base_/methods/chen2017.py',
    '../_base_/teachers/mask-r101_2x_coco.py',
]
# Masks are neither taught nor needed: no pair asks for the mask head, so it never runs.
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    **_base_.pop('chen2017'))
