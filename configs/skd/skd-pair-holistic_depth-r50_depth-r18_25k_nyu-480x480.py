# Pair-wise and holistic distillation of depth: ResNet-50 teaches ResNet-18, NYU Depth
# V2, 25k. Of mmsegmentation's config backbone and head are replaced, and a little more:
# see the teacher's config.
# Liu et al., TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pair-holistic_depth-r50_depth-r18_25k_nyu-480x480.py
# Cost and result: not run yet.  Needs: NYU Depth V2 in data/nyu/, and the teacher. No
# weights of it are published: train it first, which leaves them where they are read:
#     python tools/train.py configs/nyu/depth_r50_25k_nyu-480x480.py
# Alone:  python tools/train.py configs/nyu/depth_r18_25k_nyu-480x480.py
_base_ = ['../nyu/depth_r18_25k_nyu-480x480.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::nyu/depth_r50_25k_nyu-480x480.py',
        checkpoint='work_dirs/depth_r50_25k_nyu-480x480/iter_25000.pth'),
    pairs=dict(
        # The decoder's last feature, 120x120, pooled to 30x30 nodes.
        pair=dict(
            layer='decode_head.decoder.conv_layers',
            loss=dict(type='PairWiseLoss', max_nodes=900, loss_weight=10.0)),
        # A depth is no logit: raw. The maps are as large as the images, and one table
        # of the critic's attention over 60x60 places takes 0.4 GB for eight of them.
        holistic=dict(
            view='depth.map',
            loss=dict(type='HolisticLoss', maps='raw', loss_weight=0.1))))
