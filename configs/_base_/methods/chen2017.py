# The system of Chen et al. for the hosts' data. A config takes it:
# `**_base_.pop('chen2017')`. Weights are those of the paper, and of its
# reimplementations where it gives none.
chen2017 = dict(
    task_loss_weights={'loss_cls': 0.8, 'loss_rpn_cls': 0.8},  # mu
    pairs=dict(
        hint=dict(
            layer='neck',
            adapter=dict(type='ConvAdapter'),
            loss=dict(type='HintLoss', loss_weight=0.5)),  # gamma
        rcn_cls=dict(
            view='roi.logits',
            loss=dict(
                type='WeightedClassKDLoss',
                background_weight=1.5,
                temperature=1.0,
                loss_weight=0.2)),  # 1 - mu
        rcn_reg=dict(
            view='roi.deltas',
            loss=dict(type='TeacherBoundedLoss', margin=0.0, loss_weight=0.5)),  # nu
        rpn_cls=dict(
            view='rpn.logits',
            loss=dict(
                type='WeightedClassKDLoss',
                background_weight=1.5,
                temperature=1.0,
                loss_weight=0.2)),  # 1 - mu
        rpn_reg=dict(
            view='rpn.deltas',
            loss=dict(type='TeacherBoundedLoss', margin=0.0, loss_weight=0.5))))  # nu
