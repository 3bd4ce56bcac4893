# Attention transfer at the stages of the backbone, on mosaics of photographs.
# Zagoruyko and Komodakis, ICLR 2017, arXiv:1612.03928
# Run:    python tools/train.py \
#     configs/at/at-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 7 minutes on one of two busy cores; 41.3 ± 0.5 mIoU, the student
# alone 38.4 (seeds 0 to 2, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # Where is each stage active? The weight of the released code, 1000, is of each
        # stage, and a pair takes the mean of its four: 4000.
        backbone=dict(
            layer='backbone',
            loss=dict(type='ATLoss', mode='code', loss_weight=4000.0))))
