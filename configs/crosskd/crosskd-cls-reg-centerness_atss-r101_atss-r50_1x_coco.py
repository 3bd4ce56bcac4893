# CrossKD: ATSS R101 teaches R50, COCO, 1x.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg-centerness_atss-r101_atss-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::atss/atss_r50_fpn_1x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::atss/atss_r101_fpn_1x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/atss/atss_r101_fpn_1x_coco/'
            'atss_r101_fpn_1x_20200825-dfcadd6f.pth')),
    pairs=dict(
        # The teacher's head goes on from what the student's third convolutions give.
        cls=dict(view='cross.logits', loss=dict(type='CrossKDLoss')),
        reg=dict(view='cross.boxes', loss=dict(type='BoxIoULoss', kind='giou')),
        # The gradient of the paper's cross-entropy; its value less the entropy.
        centerness=dict(view='cross.centerness', loss=dict(type='KDLoss'))))
