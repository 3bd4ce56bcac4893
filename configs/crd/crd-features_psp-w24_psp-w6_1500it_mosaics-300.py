# Contrastive distillation of pixels, on mosaics of photographs.
# Tian et al., ICLR 2020, arXiv:1910.10699
# Run:    python tools/train.py \
#     configs/crd/crd-features_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 15 minutes on one of two busy cores; 35.7 mIoU, the student alone
# 37.0 (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # Which pixel of the teacher is this one of the student, among remembered ones
        # of other classes? What the classifier reads; the paper's weight and
        # temperature.
        features=dict(
            view='seg.features',
            loss=dict(
                type='CRDLoss',
                num_classes=13,
                temperature=0.07,
                num_negatives=4096,
                loss_weight=0.8))))
