# Apprentice, scheme B: a segmentor with weights of three values and activations of 8
# bits learns from a float teacher, from random weights. On mosaics of photographs.
# Mishra and Marr 2018, arXiv:1711.05852
# Run:    python tools/train.py \
#     configs/apprentice/apprentice-b_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# In float:  python tools/train.py \
#     configs/skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    student=dict(
        _delete_=True,
        type='kd_plugins.Quantized',
        model=dict(
            cfg='kd_plugins::mosaics/'
            'pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'),
        weights=dict(type='TernaryWeights'),
        # The first layer and the last ones read and multiply in float, and norms, which
        # have learnt nothing yet, keep their own statistics.
        float_layers=['backbone.stem', '*.conv_seg'],
        fold_norms=False),
    # Both count half, at temperature 1.
    task_loss_weights={'*.loss_ce': 0.5},
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=0.5))))
