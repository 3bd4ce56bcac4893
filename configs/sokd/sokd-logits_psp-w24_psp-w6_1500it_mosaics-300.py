# Semi-online distillation, on mosaics of photographs: between the teacher and the
# student learns a second decode head of the teacher.
# Liu et al. 2021, arXiv:2111.11747
# Run:    python tools/train.py \
#     configs/sokd/sokd-logits_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        # A second decode head on the frozen teacher's features, at first its own.
        bridge=dict(
            cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
            checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
            trains=['decode_head'])),
    deploy='small',
    teacher=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'),
    # Temperature and weights of the released code.
    pairs=dict(
        from_bridge=dict(
            student='small',
            teacher='bridge',
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0)),
        from_teacher=dict(
            student='bridge',
            teacher='teacher',
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0)),
        from_small=dict(
            student='bridge',
            teacher='small',
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
