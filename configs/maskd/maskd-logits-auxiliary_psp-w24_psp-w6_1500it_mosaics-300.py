# Masked distillation of the class maps of both heads, on mosaics of photographs.
# Huang et al., ICLR 2023, arXiv:2205.14589
# First:  python tools/train.py configs/maskd/maskd-tokens_psp-w24_500it_mosaics.py
# Run:    python tools/train.py \
#     configs/maskd/maskd-logits-auxiliary_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 12 minutes on one of two busy cores; 37.6 mIoU, the student alone
# 37.0 (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # The authors' weights are 1 and 0.4; their code takes half of the distance.
        logits=dict(
            view='seg.logits',
            loss=dict(
                type='MasKDLoss',
                tokens='work_dirs/maskd-tokens_psp-w24_500it_mosaics/iter_500.pth',
                loss_weight=0.5)),
        auxiliary=dict(
            layer='auxiliary_head.conv_seg',
            loss=dict(
                type='MasKDLoss',
                tokens='work_dirs/maskd-tokens_psp-w24_500it_mosaics/iter_500.pth',
                loss_weight=0.2))))
