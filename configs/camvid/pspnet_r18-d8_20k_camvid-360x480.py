# A student for data of your own, alone: PSPNet, ResNet-18, CamVid, 20k. All but
# backbone and widths is the teacher's, inherited here.
# Run:    python tools/train.py configs/camvid/pspnet_r18-d8_20k_camvid-360x480.py
# Cost and result: not run yet.  Needs: CamVid in data/camvid/, or your own data; see
# configs/_base_/datasets/camvid.py.
_base_ = ['./pspnet_r101-d8_20k_camvid-360x480.py']
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(depth=18),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64))
