# Soft labels of the RoIs and soft masks: Mask R-CNN R101 teaches R50, COCO, 1x.
# Hinton et al. 2015, arXiv:1503.02531; the weights are ours.
# Run:    python tools/train.py \
#     configs/kd/kd-logits-masks_mask-r101_mask-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    '../_base_/distill.py',
    '../_base_/teachers/mask-r101_2x_coco.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    pairs=dict(
        # What is in this box? Both heads judge the same boxes.
        logits=dict(
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0)),
        # Which of its pixels are on the object? A yes or no in each, of its own class.
        masks=dict(
            view='roi.masks',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))))
