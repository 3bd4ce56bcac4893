# Channel-wise distillation of the class maps, on mosaics of photographs.
# Shu et al., ICCV 2021, arXiv:2011.13256
# Run:    python tools/train.py \
#     configs/cwd/cwd-logits_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 8 minutes on one of two busy cores; 43.6 ± 0.6 mIoU, the student
# alone 38.4 (seeds 0 to 2, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # Where on the map does each class fire? Temperature and weight of the released
        # code.
        logits=dict(
            view='seg.logits',
            loss=dict(type='CWDLoss', temperature=4.0, loss_weight=3.0))))
