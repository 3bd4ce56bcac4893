# Correlations of classes of the RoIs: Faster R-CNN R101 teaches R50, COCO, 2x.
# Huang et al., NeurIPS 2022, arXiv:2205.10536
# Run:    python tools/train.py configs/dist/dist-logits_frcnn-r101_frcnn-r50_2x_coco.py
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
        logits=dict(
            view='roi.logits',
            loss=dict(type='DISTLoss', beta=1.0, gamma=1.0, loss_weight=1.0))))
