# The system of Chen et al.: Faster R-CNN R50 teaches R18, COCO, 2x.
# NIPS 2017, https://papers.nips.cc/paper/6676
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full_frcnn-r50_frcnn-r18_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    '../coco/faster-rcnn_r18_fpn_2x_coco.py',
    '../_base_/distill.py',
    '../_base_/teachers/frcnn-r50_2x_coco.py',
    '../_base_/methods/chen2017.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    **_base_.pop('chen2017'))
