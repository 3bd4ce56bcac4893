# Gradient-based attention transfer, on mosaics of photographs.
# Zagoruyko and Komodakis, ICLR 2017, arXiv:1612.03928
# Run:    python tools/train.py \
#     configs/at/at-gradient_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 25 minutes on one of two busy cores; 33.8 mIoU, the student alone
# 37.0 (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # Which pixels of the image does the loss of the labels depend on? The paper's
        # other form. The weight is ours: the gradient is as large as the task's
        # (tools/analyze.py, at a student that was trained without it).
        gradient=dict(
            view=dict(type='seg.gradient'),
            loss=dict(type='GradientATLoss', loss_weight=1.7))))
