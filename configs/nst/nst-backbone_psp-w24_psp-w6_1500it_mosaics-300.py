# Neuron selectivity transfer of the last stage, on mosaics of photographs.
# Huang and Wang 2017, arXiv:1707.01219
# Run:    python tools/train.py \
#     configs/nst/nst-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 6 minutes on one of two busy cores; 42.2 mIoU, the student alone 37.0
# (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # Which patterns do the channels of the last stage look for? Kernel and weight
        # of the released code.
        backbone=dict(
            layer='backbone',
            levels=[3],
            loss=dict(type='NSTLoss', kernel='polynomial', loss_weight=50.0))))
