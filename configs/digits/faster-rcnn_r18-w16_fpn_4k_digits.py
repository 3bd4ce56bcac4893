# The second protocol, beside the benchmark's: the same student with all 4,000 labelled
# images and 4,000 iterations, short of capacity but not of labels.
# Run:    python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_4k_digits.py
# Cost and result: not run yet.
_base_ = ['../_base_/digits_student.py', '../_base_/schedules/cosine_4k.py']
train_dataloader = dict(dataset=dict(ann_file='annotations/train.json'))
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = _base_.pop('cosine_4k')
# The hook that makes the data is ours.
custom_imports = dict(imports=['kd_plugins'], allow_failed_imports=False)
