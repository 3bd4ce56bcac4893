# The three pairs of Liu et al. with the paper's weights, for a PSPNet or a DeepLabV3 of
# the hosts' data. A config takes them: `pairs=_base_.pop('skd')`.
skd = dict(
    pixel=dict(
        view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0)),
    pair=dict(
        layer='decode_head.bottleneck',
        loss=dict(type='PairWiseLoss', pool_kernel=2, loss_weight=10.0)),
    # The critic's own rate and weight decay; its rate decays as the student's.
    holistic=dict(
        view='seg.logits', loss=dict(type='HolisticLoss', loss_weight=0.1)))
