# Pair-wise distillation of depth, on planes in haze.
# Liu et al., TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pair_depth-w32_depth-w16_1k_planes-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/planes/depth_r18-w16_1k_planes-300-128x128.py
_base_ = ['../_base_/planes_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::planes/depth_r18-w32_2k_planes-128x128.py',
        checkpoint='kd_plugins::planes/depth_r18-w32_2k_planes-128x128.safetensors'),
    pairs=dict(
        # How alike are each two places? Cosines between the pixels of the decoder's
        # last feature, 32x32 pooled to 16x16, whose channels may differ: no adapter.
        pair=dict(
            layer='decode_head.decoder.conv_layers',
            loss=dict(type='PairWiseLoss', pool_kernel=2, loss_weight=10.0))))
