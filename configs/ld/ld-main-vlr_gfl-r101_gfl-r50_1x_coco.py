# Localization distillation: GFL R101 teaches R50, COCO, 1x.
# Zheng et al., CVPR 2022, arXiv:2102.12252
# Run:    python tools/train.py configs/ld/ld-main-vlr_gfl-r101_gfl-r50_1x_coco.py
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
        # Where each edge of a box may lie: of the positives, and of the valuable
        # localization region around them. In the released scale, which adds up the rows
        # of a batch: it grows with the images of a GPU, three there.
        main=dict(
            view='head.distributions',
            loss=dict(
                type='LDLoss',
                temperature=10.0,
                mean_over_bins=True,
                reduction='sum',
                loss_weight=0.25)),
        vlr=dict(
            view=dict(type='head.distributions', region='vlr'),
            loss=dict(
                type='LDLoss',
                temperature=10.0,
                mean_over_bins=True,
                reduction='sum',
                loss_weight=0.0625))))
