# A segmentor of 8 bits a weight learns from its own float weights: first they are
# trained, then they teach. On mosaics of photographs.
# Zhao and Zhao 2024, arXiv:2403.11106; here beside the labels
# Run:    python tools/train.py configs/qad/qad-w8a8_psp-w6_2k_mosaics-300.py
# Cost and result: not run yet. 1,500 and 500 iterations. Without the teacher:
#         python tools/train.py \
#             configs/qad/qad-control-w8a8_psp-w6_2k_mosaics-300.py
# In float:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/quantized/psp-w6_500it_mosaics-300.py']
model = dict(
    teacher=dict(_delete_=True, cfg={{_base_.alone}}, checkpoint='{float.student}'),
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
