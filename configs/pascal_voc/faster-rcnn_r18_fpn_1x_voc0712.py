# A student alone: Faster R-CNN, ResNet-18, PASCAL VOC.
# Run:    python tools/train.py configs/pascal_voc/faster-rcnn_r18_fpn_1x_voc0712.py
# Cost and result: not run yet.  Needs: VOC 2007 and 2012 in data/VOCdevkit/.
_base_ = ['mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py']
model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]))
