# Quantized distillation: the gradient is taken at weights of 4 bits, in buckets, and
# moves the float ones behind them; a float teacher teaches. On mosaics of photographs.
# Polino et al. 2018, arXiv:1802.05668
# Run:    python tools/train.py \
#     configs/polino2018/polino2018-distilled-w4_psp-w24_psp-w6_1500it_mosaics-300.py
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
        weights=dict(type='BucketedWeights', bits=4, bucket_size=256),
        activations=None,
        fold_norms=False),
    # Of the released code, which averages over the classes too: here over pixels alone.
    task_loss_weights={'*.loss_ce': 0.3},
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=2.0, loss_weight=0.7))))
