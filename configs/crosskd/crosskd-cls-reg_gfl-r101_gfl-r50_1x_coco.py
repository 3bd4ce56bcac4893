# CrossKD: GFL R101 teaches R50, COCO, 1x.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_gfl-r101_gfl-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::gfl/gfl_r50_fpn_1x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/gfl/gfl_r101_fpn_mstrain_2x_coco/'
            'gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth')),
    pairs=dict(
        # The teacher's head goes on from what the student's third convolutions give.
        cls=dict(view='cross.logits', loss=dict(type='CrossKDLoss')),
        reg=dict(
            view='cross.distributions',
            loss=dict(type='LDLoss', temperature=1.0, loss_weight=4.0))))
