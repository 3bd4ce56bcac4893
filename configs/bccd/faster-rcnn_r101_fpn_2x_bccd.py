# A teacher for blood cells: Faster R-CNN, ResNet-101, BCCD, 2x. Train it first.
# Run:    python tools/train.py configs/bccd/faster-rcnn_r101_fpn_2x_bccd.py
# Cost and result: not run yet.  Needs: BCCD in data/bccd/; see
# configs/_base_/datasets/bccd.py.
_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/bccd.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet101')),
    roi_head=dict(bbox_head=dict(num_classes={{_base_.num_classes}})))
# The schedule's rate is for 16 images a batch; here there are 4.
optim_wrapper = dict(optimizer=dict(lr=0.005))
auto_scale_lr = dict(base_batch_size=4)
