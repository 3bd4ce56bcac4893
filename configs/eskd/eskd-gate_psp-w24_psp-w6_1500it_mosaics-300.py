# Distillation that stops before the end: after 60 % of the iterations labels alone
# teach, and the teacher does not run. On mosaics of photographs.
# Cho and Hariharan, ICCV 2019, arXiv:1910.01348
# Run:    python tools/train.py \
#     configs/eskd/eskd-gate_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet. To the end:  python tools/train.py \
#     configs/skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # As to the end, but for the gate. The labels count fully all the time.
        logits=dict(
            view='seg.logits',
            loss=dict(
                type='KDLoss',
                temperature=4.0,
                loss_weight=dict(
                    type='StepSchedule', values=[1.0, 0.0], milestones=[900])))))
