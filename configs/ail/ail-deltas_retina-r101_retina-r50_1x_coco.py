# Attentive imitation of the boxes: RetinaNet R101 teaches R50, COCO, 1x.
# Saputra et al., ICCV 2019, arXiv:1908.00858
# Run:    python tools/train.py configs/ail/ail-deltas_retina-r101_retina-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    '../_base_/distill.py',
    '../_base_/teachers/retina-r101_2x_coco.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    pairs=dict(
        # Where is the object? Of the anchors that have one; the more the teacher errs,
        # the less it counts. The range of its errors is followed as they come; the
        # paper takes it of the whole training set before.
        deltas=dict(
            view='head.deltas',
            loss=dict(
                type='AILLoss',
                mode='attentive',
                normalizer='running',
                loss_weight=1.0))))
