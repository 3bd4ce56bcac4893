# Universal self-knowledge distillation of pixels, no teacher, on mosaics of
# photographs.
# Yang et al., ICCV 2023, arXiv:2303.13005
# Run:    python tools/train.py \
#     configs/uskd/uskd-logits_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # As tf-NKD, and the other classes by the ranks that the student and a weak
        # classifier of its third stage give them. Weights of the paper for ImageNet.
        logits=dict(
            view='seg.logits',
            loss=dict(type='USKDLoss', alpha=1.0, beta=0.1, mu=0.005))))
