# On digits in photographs, the embedded Faster R-CNN of width 16 learns without a
# teacher, from random weights. What has none there inherits it and adds its pairs.
_base_ = ['../digits_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=None)
