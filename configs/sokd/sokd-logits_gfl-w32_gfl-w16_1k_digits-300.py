# Semi-online distillation of a one-stage head, on digits in photographs: between the
# teacher and the student learns a second dense head of the teacher.
# Liu et al. 2021, arXiv:2111.11747; temperature and weights are ours.
# Run:    python tools/train.py \
#     configs/sokd/sokd-logits_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
_base_ = ['../_base_/digits_gfl_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        # A second dense head on the frozen teacher's features, at first its own.
        bridge=dict(
            cfg='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py',
            checkpoint='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.safetensors',
            trains=['bbox_head'])),
    deploy='small',
    teacher=dict(
        cfg='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py',
        checkpoint='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.safetensors'),
    # As KD of this student: at most points there is no digit.
    pairs=dict(
        from_bridge=dict(
            student='small',
            teacher='bridge',
            view='head.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=10.0)),
        from_teacher=dict(
            student='bridge',
            teacher='teacher',
            view='head.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=10.0)),
        from_small=dict(
            student='bridge',
            teacher='small',
            view='head.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=10.0))))
