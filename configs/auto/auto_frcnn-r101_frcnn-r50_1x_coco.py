# Pairs chosen by what both models are: Faster R-CNN R101 teaches R50, COCO, 1x: the
# neck by PKD (Cao et al., NeurIPS 2022, arXiv:2207.02039), the classes of the RoIs by
# NKD (Yang et al. 2022, arXiv:2208.10139).
# Run:    python tools/train.py configs/auto/auto_frcnn-r101_frcnn-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
            'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth')),
    pairs=dict(type='auto'))
