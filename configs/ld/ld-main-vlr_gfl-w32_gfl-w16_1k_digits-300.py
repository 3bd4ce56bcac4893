# Localization distillation, on digits in photographs.
# Zheng et al., CVPR 2022, arXiv:2102.12252
# Run:    python tools/train.py \
#     configs/ld/ld-main-vlr_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 12 minutes on one of two busy cores; 52.8 ± 1.8 mAP, the same start
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
        # Where each edge of a box may lie: of the positives, and of the valuable
        # localization region around them, in the released scale and with its weights.
        main=dict(
            view='head.distributions',
            loss=dict(
                type='LDLoss',
                temperature=10.0,
                mean_over_bins=True,
                reduction='sum',
                loss_weight=0.25)),
        vlr=dict(
            view=dict(type='head.distributions', region='vlr'),
            loss=dict(
                type='LDLoss',
                temperature=10.0,
                mean_over_bins=True,
                reduction='sum',
                loss_weight=0.0625))))
