# Pair-wise distillation of depth, on planes in haze.
# Liu et al., TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pair_depth-w32_depth-w16_1k_planes-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/planes/depth_r18-w16_1k_planes-300-128x128.py
_base_ = ['../_base_/distill/depth-w32_depth-w16_1k_planes-300.py']
model = dict(
    pairs=dict(
        # How alike are each two places? Cosines between the pixels of the decoder's
        # last feature, 32x32 pooled to 16x16, whose channels may differ: no adapter.
        pair=dict(
            layer='decode_head.decoder.conv_layers',
            loss=dict(type='PairWiseLoss', pool_kernel=2, loss_weight=10.0))))
