# Masked distillation of the neck: Faster R-CNN R101 teaches R50, COCO, 2x.
# Huang et al., ICLR 2023, arXiv:2205.14589
# First:  python tools/train.py configs/maskd/maskd-tokens_frcnn-r101_2k_coco.py
# Run:    python tools/train.py \
#     configs/maskd/maskd-neck_frcnn-r101_frcnn-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
            'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth')),
    pairs=dict(
        # The authors' weight, 1, is read as that of each of the five levels, which add
        # up. After an epoch, of 16 images a step, the masks are the student's too.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            adapter=dict(type='ConvAdapter'),
            loss=dict(
                type='MasKDLoss',
                tokens='work_dirs/maskd-tokens_frcnn-r101_2k_coco/iter_2000.pth',
                customize_after=7330))))
