# A student for blood cells, alone: Faster R-CNN, ResNet-18, BCCD, 2x. All but the
# backbone is the teacher's, inherited here.
# Run:    python tools/train.py configs/bccd/faster-rcnn_r18_fpn_2x_bccd.py
# Cost and result: not run yet.  Needs: BCCD in data/bccd/; see
# configs/_base_/datasets/bccd.py.
_base_ = ['./faster-rcnn_r101_fpn_2x_bccd.py']
model = dict(
    backbone=dict(depth=18, init_cfg=dict(checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]))
