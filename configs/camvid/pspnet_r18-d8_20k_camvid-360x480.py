# A student for data of your own, alone: PSPNet, ResNet-18, CamVid, 20k.
# Run:    python tools/train.py configs/camvid/pspnet_r18-d8_20k_camvid-360x480.py
# Cost and result: not run yet.  Needs: CamVid in data/camvid/, or your own data; see
# configs/_base_/datasets/camvid.py.
_base_ = [
    'mmseg::_base_/models/pspnet_r50-d8.py',
    '../_base_/datasets/camvid.py',
    'mmseg::_base_/schedules/schedule_20k.py',
    'mmseg::_base_/default_runtime.py',
]
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(depth=18),
    decode_head=dict(
        in_channels=512, channels=128, num_classes={{_base_.num_classes}}),
    auxiliary_head=dict(
        in_channels=256, channels=64, num_classes={{_base_.num_classes}}))
