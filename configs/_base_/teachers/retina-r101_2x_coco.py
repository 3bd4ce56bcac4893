# mmdet's RetinaNet R101. A config takes it: `teacher=_base_.pop('teacher')`.
teacher = dict(
    cfg='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
    checkpoint=(
        'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/'
        'retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth'))
