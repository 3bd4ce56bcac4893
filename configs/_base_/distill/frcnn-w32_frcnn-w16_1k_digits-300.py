# On digits in photographs, the embedded Faster R-CNN of width 32 teaches that of 16.
# What is compared there inherits it and adds its pairs.
_base_ = ['../digits_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
        checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors'),
    # Where the shapes agree, the student starts from the teacher's weights, as all
    # that is compared on the digits does, the one without pairs too.
    init_from_teacher=['neck', 'rpn_head', 'roi_head'])
