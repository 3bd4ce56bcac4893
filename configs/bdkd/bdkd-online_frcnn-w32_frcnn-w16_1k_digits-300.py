# Balanced divergences online, as in the paper, on digits in photographs: two detectors
# learn at once, each from what the other makes of its RoIs.
# Amara et al. 2022, arXiv:2212.12965
# Run:    python tools/train.py \
#     configs/bdkd/bdkd-online_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
_base_ = ['../_base_/digits_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        small={{_base_.model}},
        big=dict(cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py')),
    deploy='small',
    pairs=dict(
        # The smaller one: which divergence counts more says the gap of the entropies.
        # The paper's own values are not known to us; these are ours.
        forth=dict(
            student='small',
            teacher='big',
            view='roi.logits',
            loss=dict(type='BDKDLoss', high=0.75, low=0.25, temperature=1.0)),
        # The bigger one: the divergence from itself to the smaller one alone.
        back=dict(
            student='big',
            teacher='small',
            view='roi.logits',
            loss=dict(type='BDKDLoss', high=1.0, low=1.0, temperature=1.0))))
# The bigger one at the rate of its own config.
optim_wrapper = dict(peer_cfg=dict(big=dict(optimizer=dict(lr=1e-3))))
