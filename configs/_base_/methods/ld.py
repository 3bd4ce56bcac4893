# The two pairs of Zheng et al., for a GFL. A config takes them:
# `pairs=_base_.pop('ld')`.
ld = dict(
    # Where each edge of a box may lie: of the positives, and of the valuable
    # localization region around them. In the released scale, which adds up the rows of
    # a batch and so grows with the images of a GPU (three there), with its weights.
    main=dict(
        view='head.distributions',
        loss=dict(
            type='LDLoss',
            temperature=10.0,
            mean_over_bins=True,
            reduction='sum',
            loss_weight=0.25)),
    vlr=dict(
        view=dict(type='head.distributions', region='vlr'),
        loss=dict(
            type='LDLoss',
            temperature=10.0,
            mean_over_bins=True,
            reduction='sum',
            loss_weight=0.0625)))
