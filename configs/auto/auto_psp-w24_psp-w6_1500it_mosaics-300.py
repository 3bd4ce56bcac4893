# Pairs chosen by what both models are, segmentors, on mosaics of photographs: the class
# maps by CWD (Shu et al., ICCV 2021, arXiv:2011.13256).
# Run:    python tools/train.py \
#     configs/auto/auto_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 4 minutes on one of two cores; 43.2 ± 2.0 mIoU, the student
# alone 38.4 (seeds 0 to 2, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(pairs=dict(type='auto'))
