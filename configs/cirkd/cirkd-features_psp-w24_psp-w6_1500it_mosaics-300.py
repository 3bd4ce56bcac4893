# Cross-image relations of pixels, on mosaics of photographs.
# Yang et al., CVPR 2022, arXiv:2204.06986
# Run:    python tools/train.py \
#     configs/cirkd/cirkd-features_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 27 minutes on one of two busy cores; 38.3 mIoU, the student alone
# 37.0 (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # What is like what, in this batch and among remembered pixels and regions? The
        # paper's weights; memories a tenth of its own, for images a thirtieth as large.
        features=dict(
            view='seg.features',
            loss=dict(
                type='CIRKDLoss',
                num_classes=13,
                batch_weight=1.0,
                pixel_weight=0.1,
                region_weight=0.1,
                pixel_size=2000,
                region_size=200,
                pixel_slots=512,
                region_slots=128))))
