# Decoupled distillation of the RoIs: Faster R-CNN R101 teaches R18, COCO, 1x.
# Zhao et al., CVPR 2022, arXiv:2203.08679
# Run:    python tools/train.py configs/dkd/dkd-logits_frcnn-r101_frcnn-r18_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
# Alone:  python tools/train.py configs/coco/faster-rcnn_r18_fpn_1x_coco.py
_base_ = [
    '../coco/faster-rcnn_r18_fpn_1x_coco.py',
    '../_base_/distill.py',
    '../_base_/teachers/frcnn-r101_2x_coco.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    pairs=dict(
        logits=dict(
            view='roi.logits',
            loss=dict(type='DKDLoss', alpha=1.0, beta=0.25, temperature=1.0))))
