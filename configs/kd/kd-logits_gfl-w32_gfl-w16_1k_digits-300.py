# Soft labels of all points of a one-stage head, on digits in photographs.
# Hinton et al. 2015, arXiv:1503.02531; the weight is ours.
# Run:    python tools/train.py \
#     configs/kd/kd-logits_gfl-w32_gfl-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 49.6 mAP, the same start 43.3
# (seed 0 only, 500 validation images).
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
        # Which classes are here? At every point of four levels, most of which hold
        # none.
        logits=dict(
            view='head.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=10.0))))
