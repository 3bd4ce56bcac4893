# Switchable online distillation of two students and one teacher, on mosaics of
# photographs: the teacher learns from those of which it is not too far ahead.
# Qian et al. 2022, arXiv:2209.04996
# Run:    python tools/train.py \
#     configs/switokd/switokd-two-students_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        second={{_base_.model}},
        big=dict(cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py')),
    deploy='small',
    pairs=dict(
        # The students from each other and from the teacher. The released code adds up,
        # and this is a mean: twice.
        logits=dict(
            student=['small', 'second'],
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=2.0)),
        # The teacher from each of them, by a switch of its own.
        from_small=dict(
            student='big',
            teacher='small',
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0)),
        from_second=dict(
            student='big',
            teacher='second',
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))),
    switches=dict(big=dict(type='AdaptiveSwitch', pair='logits')))
# The bigger one at the rate of its own config.
optim_wrapper = dict(peer_cfg=dict(big=dict(optimizer=dict(lr=1e-3))))
