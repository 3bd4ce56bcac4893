# A teacher's assistant of half the teacher's width: width 24 teaches 12, and 12 teaches
# 6. On mosaics of photographs.
# Mirzadeh et al. 2020, arXiv:1902.03393
# Run:    python tools/train.py \
#     configs/takd/takd-w12_psp-w24_psp-w6_3k_mosaics-300.py
# Cost and result: not run yet. 1,500 iterations each. Without the assistant, the same
# student stage:  python tools/train.py \
#     configs/skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py
# The student alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']

assistant = dict(
    backbone=dict(base_channels=12, stem_channels=12),
    decode_head=dict(in_channels=96, channels=48),
    auxiliary_head=dict(in_channels=48, channels=12))

# The student, which is the last stage. Its teacher is the assistant's last checkpoint,
# the one that is validated.
model = dict(
    teacher=dict(**assistant, checkpoint='{assistant.student}'),
    pairs=dict(
        # As without the assistant.
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))

stages = dict(
    assistant=dict(
        options={
            'model.student': assistant,
            'model.teacher': dict(_delete_=True, **_base_.model.teacher)
        }),
    student=dict())
