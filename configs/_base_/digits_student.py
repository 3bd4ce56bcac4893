# The student of the embedded detection benchmark: Faster R-CNN. The baseline and every
# distillation inherit it.
_base_ = ['./models/faster-rcnn_r18_digits.py', './digits_300.py']
# Half the teacher's width; the same necks, so that a hint needs no adapter.
model = dict(
    backbone=dict(base_channels=16, stem_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128]),
    train_cfg=dict(rcnn=dict(sampler=dict(num=32))))
