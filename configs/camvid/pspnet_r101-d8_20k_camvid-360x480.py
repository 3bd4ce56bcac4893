# A teacher for data of your own: PSPNet, ResNet-101, CamVid, 20k. Train it first.
# Run:    python tools/train.py configs/camvid/pspnet_r101-d8_20k_camvid-360x480.py
# Cost and result: not run yet.  Needs: CamVid in data/camvid/, or your own data; see
# configs/_base_/datasets/camvid.py.
_base_ = [
    'mmseg::_base_/models/pspnet_r50-d8.py',
    '../_base_/datasets/camvid.py',
    'mmseg::_base_/schedules/schedule_20k.py',
    'mmseg::_base_/default_runtime.py',
]
model = dict(
    pretrained='open-mmlab://resnet101_v1c',
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(depth=101),
    decode_head=dict(num_classes={{_base_.num_classes}}),
    auxiliary_head=dict(num_classes={{_base_.num_classes}}))
