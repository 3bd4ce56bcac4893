# Switchable online distillation, on digits in photographs: two detectors learn from
# each other, and the bigger one waits while it is too far ahead.
# Qian et al. 2022, arXiv:2209.04996
# Run:    python tools/train.py \
#     configs/switokd/switokd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
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
    # In both directions; temperature and weight of the released code.
    pairs=dict(
        logits=dict(
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))),
    # Judged by the objects among the RoIs of the smaller one.
    switches=dict(big=dict(type='AdaptiveSwitch', pair='logits')))
# The bigger one at the rate of its own config.
optim_wrapper = dict(peer_cfg=dict(big=dict(optimizer=dict(lr=1e-3))))
