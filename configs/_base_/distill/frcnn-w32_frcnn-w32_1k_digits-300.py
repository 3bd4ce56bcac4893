# On digits in photographs, the embedded Faster R-CNN of width 32 teaches a narrower one
# of its kind, whose config a stage named 'narrow' leaves. What is compared there
# inherits it and adds its stages and pairs.
_base_ = ['../digits_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student=dict(cfg='{narrow.config}'),
    teacher=dict(
        cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
        checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors'))
