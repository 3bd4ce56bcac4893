# ESKD whole: a teacher of a shorter complete schedule, 35 % of the usual one, and a
# student whose distillation stops before the end. On mosaics of photographs.
# Cho and Hariharan, ICCV 2019, arXiv:1910.01348
# Run:    python tools/train.py \
#     configs/eskd/eskd-short-teacher_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.  Needs: that teacher. Train it first:
#         python tools/train.py \
#             configs/mosaics/pspnet_r18-w24-d8_1400it_mosaics-128x128.py
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['./eskd-gate_psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    teacher=dict(
        checkpoint=(
            'work_dirs/pspnet_r18-w24-d8_1400it_mosaics-128x128/iter_1400.pth')))
