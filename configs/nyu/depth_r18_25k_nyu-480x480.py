# A student of depth, alone: ResNet-18 under mmsegmentation's depth head, NYU Depth V2,
# 25k. What of mmsegmentation's config is replaced: see the teacher's, inherited here.
# Run:    python tools/train.py configs/nyu/depth_r18_25k_nyu-480x480.py
# Cost and result: not run yet.  Needs: NYU Depth V2 in data/nyu/.
_base_ = ['./depth_r50_25k_nyu-480x480.py']
model = dict(
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(depth=18),
    # A quarter of the teacher's widths.
    decode_head=dict(
        in_channels=[64, 128, 256, 512],
        embed_dim=48,
        feature_dim=384))
