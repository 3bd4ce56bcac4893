# On mosaics of photographs, the embedded PSPNet of width 24 teaches a narrower one of
# its kind, whose config a stage named 'narrow' leaves. What is compared there inherits
# it and adds its stages and pairs.
_base_ = ['../mosaics_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student=dict(cfg='{narrow.config}'),
    teacher=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'))
