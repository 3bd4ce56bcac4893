# Apprentice, scheme A: a float teacher and a segmentor with weights of three values
# learn together, from random weights. On mosaics of photographs.
# Mishra and Marr 2018, arXiv:1711.05852
# Run:    python tools/train.py \
#     configs/apprentice/apprentice-a_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.MutualDistiller',
    peers=dict(
        apprentice=dict(
            model=dict(
                type='kd_plugins.Quantized',
                model={{_base_.model}},
                weights=dict(type='TernaryWeights'),
                float_layers=['backbone.stem', '*.conv_seg'],
                fold_norms=False)),
        teacher=dict(cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py')),
    deploy='apprentice',
    # The teacher learns from its labels alone. In the apprentice
    # labels and teacher count alike, as half and half do in the paper.
    pairs=dict(
        logits=dict(
            student='apprentice',
            teacher='teacher',
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))))
# At the rate that suits it alone.
optim_wrapper = dict(peer_cfg=dict(teacher=dict(optimizer=dict(lr=1e-3))))
