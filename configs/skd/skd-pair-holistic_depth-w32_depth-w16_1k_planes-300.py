# Pair-wise and holistic distillation of depth, on planes in haze.
# Liu et al., TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pair-holistic_depth-w32_depth-w16_1k_planes-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/planes/depth_r18-w16_1k_planes-300-128x128.py
_base_ = ['./skd-pair_depth-w32_depth-w16_1k_planes-300.py']
model = dict(
    pairs=dict(
        # How plausible is the whole map, beside the image? A depth is no logit: raw.
        holistic=dict(
            view='depth.map',
            loss=dict(
                type='HolisticLoss',
                maps='raw',
                base_channels=8,
                loss_weight=0.1))))
