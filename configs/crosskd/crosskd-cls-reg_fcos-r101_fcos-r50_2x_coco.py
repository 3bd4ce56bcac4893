# CrossKD: FCOS R101 teaches R50, COCO, 2x.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_fcos-r101_fcos-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
    '../_base_/distill.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::fcos/fcos_r101-caffe_fpn_gn-head_ms-640-800-2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/fcos/fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco/'
            'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco-511424d6.pth')),
    pairs=dict(
        # The teacher's head goes on from what the student's second convolutions give.
        cls=dict(
            view=dict(type='cross.logits', layer=2),
            loss=dict(type='CrossKDLoss', loss_weight=0.4)),
        reg=dict(
            view=dict(type='cross.boxes', layer=2),
            loss=dict(type='BoxIoULoss', kind='iou', loss_weight=0.75))))
