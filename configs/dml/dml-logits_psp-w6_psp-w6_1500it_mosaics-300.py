# Deep mutual learning of two equal segmentors, on mosaics of photographs: each learns
# what the other makes of the pixels.
# Zhang et al. 2018, arXiv:1706.00384
# Run:    python tools/train.py \
#     configs/dml/dml-logits_psp-w6_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    # They differ in their random weights: `second` begins with the seed of the run
    # plus 1.
    peers=dict(first={{_base_.model}}, second={{_base_.model}}),
    deploy='first',
    # In both directions; temperature and weight of the paper.
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))))
