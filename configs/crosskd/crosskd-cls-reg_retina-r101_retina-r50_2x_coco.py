# CrossKD: RetinaNet R101 teaches R50, COCO, 2x.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/'
            'retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth')),
    pairs=dict(
        # The teacher's head goes on from what the student's third convolutions give.
        cls=dict(view='cross.logits', loss=dict(type='CrossKDLoss')),
        reg=dict(view='cross.boxes', loss=dict(type='BoxIoULoss', kind='giou'))))
