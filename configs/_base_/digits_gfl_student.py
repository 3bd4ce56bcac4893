# The student of the embedded one-stage benchmark: GFL. The baseline and every
# distillation inherit it.
_base_ = ['./models/gfl_r18_digits.py', './digits_300.py']
# Half the teacher's width; the same necks and heads, as CrossKD needs them.
model = dict(
    backbone=dict(base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]))
