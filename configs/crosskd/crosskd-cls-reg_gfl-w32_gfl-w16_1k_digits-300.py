# CrossKD: the teacher's head goes on from the student's, on digits in photographs.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 10 minutes on one of two busy cores; 57.9 ± 0.9 mAP, the same start
# 43.4 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/gfl_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py
_base_ = ['../_base_/digits_gfl_student.py', '../_base_/distill.py']

model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py',
        checkpoint='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.safetensors'),
    # Where the shapes agree, the student starts from the teacher's weights, as all
    # that is compared here does, the one without pairs too.
    init_from_teacher=['neck', 'bbox_head'],
    pairs=dict(
        # The teacher's head goes on from what the student's first convolutions give:
        # the first of two, as the paper takes the third of four.
        cls=dict(
            view=dict(type='cross.logits', layer=1),
            loss=dict(type='CrossKDLoss')),
        reg=dict(
            view=dict(type='cross.distributions', layer=1),
            loss=dict(type='LDLoss', temperature=1.0, loss_weight=4.0))))
