# A teacher: Faster R-CNN, ResNet-101, PASCAL VOC. mmdet has no checkpoint of it.
# Run:    python tools/train.py configs/pascal_voc/faster-rcnn_r101_fpn_1x_voc0712.py
# Cost and result: not run yet.  Needs: VOC 2007 and 2012 in data/VOCdevkit/.
_base_ = ['mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py']
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')))
