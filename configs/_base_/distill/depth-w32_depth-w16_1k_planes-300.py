# On planes in haze, the embedded depth estimator of width 32 teaches that of 16. What
# is compared there inherits it and adds its pairs.
_base_ = ['../planes_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::planes/depth_r18-w32_2k_planes-128x128.py',
        checkpoint='kd_plugins::planes/depth_r18-w32_2k_planes-128x128.safetensors'))
