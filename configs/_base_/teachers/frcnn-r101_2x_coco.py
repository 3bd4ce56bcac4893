# mmdet's Faster R-CNN R101. A config takes it: `teacher=_base_.pop('teacher')`.
teacher = dict(
    cfg='mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    checkpoint=(
        'https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn/faster_rcnn_r101_fpn_2x_coco/'
        'faster_rcnn_r101_fpn_2x_coco_bbox_mAP-0.398_20200504_210455-1d2dac9c.pth'))
