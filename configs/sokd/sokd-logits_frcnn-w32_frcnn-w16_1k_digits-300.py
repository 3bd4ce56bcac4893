# Semi-online distillation, on digits in photographs: between the teacher and the
# student learns a second RoI head of the teacher.
# Liu et al. 2021, arXiv:2111.11747
# Run:    python tools/train.py \
#     configs/sokd/sokd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
_base_ = ['../_base_/digits_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        # A second RoI head on the frozen teacher's features, at first its own.
        bridge=dict(
            cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
            checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors',
            trains=['roi_head'])),
    deploy='small',
    teacher=dict(
        cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
        checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors'),
    # Temperature and weights of the released code.
    pairs=dict(
        from_bridge=dict(
            student='small',
            teacher='bridge',
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0)),
        from_teacher=dict(
            student='bridge',
            teacher='teacher',
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0)),
        from_small=dict(
            student='bridge',
            teacher='small',
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
