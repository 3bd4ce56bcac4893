# Switchable online distillation of one student and two teachers, on mosaics of
# photographs: each teacher waits by itself, and learns from the other one, too.
# Qian et al. 2022, arXiv:2209.04996
# Run:    python tools/train.py \
#     configs/switokd/switokd-two-teachers_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        big=dict(cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py'),
        other=dict(cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py')),
    deploy='small',
    # Each from the two others. The released code adds up, and this is a mean: twice.
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=2.0))),
    switches=dict(
        big=dict(type='AdaptiveSwitch', pair='logits', students=['small']),
        other=dict(type='AdaptiveSwitch', pair='logits', students=['small'])))
# The bigger ones at the rate of their own config.
optim_wrapper = dict(
    peer_cfg=dict(
        big=dict(optimizer=dict(lr=1e-3)), other=dict(optimizer=dict(lr=1e-3))))
