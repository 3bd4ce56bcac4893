# On digits in photographs, the embedded GFL of width 32 teaches that of 16. What is
# compared there inherits it and adds its pairs.
_base_ = ['../digits_gfl_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py',
        checkpoint='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.safetensors'),
    # Where the shapes agree, the student starts from the teacher's weights, as all
    # that is compared here does, the one without pairs too.
    init_from_teacher=['neck', 'bbox_head'])
