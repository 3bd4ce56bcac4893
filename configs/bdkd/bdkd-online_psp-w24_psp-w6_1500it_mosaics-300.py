# Balanced divergences online, as in the paper, on mosaics of photographs: two
# segmentors learn at once, each from what the other makes of the pixels.
# Amara et al. 2022, arXiv:2212.12965
# Run:    python tools/train.py \
#     configs/bdkd/bdkd-online_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        big=dict(cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py')),
    deploy='small',
    pairs=dict(
        # The smaller one: which divergence counts more says the gap of the entropies.
        # The paper's own values are not known to us; these are ours.
        forth=dict(
            student='small',
            teacher='big',
            view='seg.logits',
            loss=dict(type='BDKDLoss', high=0.75, low=0.25, temperature=1.0)),
        # The bigger one: the divergence from itself to the smaller one alone.
        back=dict(
            student='big',
            teacher='small',
            view='seg.logits',
            loss=dict(type='BDKDLoss', high=1.0, low=1.0, temperature=1.0))))
# The bigger one at the rate of its own config.
optim_wrapper = dict(peer_cfg=dict(big=dict(optimizer=dict(lr=1e-3))))
