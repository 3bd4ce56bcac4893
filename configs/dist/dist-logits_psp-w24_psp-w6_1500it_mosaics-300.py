# Correlations of classes, pixel by pixel and class by class, on mosaics of photographs.
# Huang et al., NeurIPS 2022, arXiv:2205.10536
# Run:    python tools/train.py \
#     configs/dist/dist-logits_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 11 minutes on one of two busy cores; 39.5 ± 0.5 mIoU, the student
# alone 38.4 (seeds 0 to 2, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # Which classes go up together, in a pixel and over the pixels? Weights of the
        # paper for segmentation.
        logits=dict(
            view='seg.logits',
            loss=dict(type='DISTLoss', beta=1.0, gamma=1.0, loss_weight=1.0))))
