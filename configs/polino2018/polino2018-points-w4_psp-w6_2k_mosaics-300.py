# Differentiable quantisation: the weights stay, and the 16 values that those of a layer
# become are learnt, from the same segmentor in float. On mosaics of photographs.
# Polino et al. 2018, arXiv:1802.05668
# Run:    python tools/train.py \
#     configs/polino2018/polino2018-points-w4_psp-w6_2k_mosaics-300.py
# Cost and result: not run yet. 1,500 and 500 iterations.
# In float:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/quantized/psp-w6_500it_mosaics-300.py']
model = dict(
    student=dict(
        weights=dict(type='PointWeights', points=16, bucket_size=256),
        activations=None,
        # Its statistics follow the points.
        fold_norms=False),
    teacher=dict(_delete_=True, cfg={{_base_.alone}}, checkpoint='{float.student}'),
    task_loss_weights={'*.loss_ce': 0.3},
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=2.0, loss_weight=0.7))))
