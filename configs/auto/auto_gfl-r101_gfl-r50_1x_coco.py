# Pairs chosen by what both models are: GFL R101 teaches R50, COCO, 1x: the neck by PKD
# (Cao et al., NeurIPS 2022, arXiv:2207.02039), where each edge of a box may lie by LD
# (Zheng et al., CVPR 2022, arXiv:2102.12252).
# Run:    python tools/train.py configs/auto/auto_gfl-r101_gfl-r50_1x_coco.py
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
    pairs=dict(type='auto'))
