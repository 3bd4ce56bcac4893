# On mosaics of photographs, the embedded PSPNet of width 6 learns without a teacher.
# What has none there inherits it and adds its pairs.
_base_ = ['../mosaics_student.py', '../distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=None)
