# Masked distillation, first stage: which places of its neck does a teacher need?
# Faster R-CNN R101, COCO.  Huang et al., ICLR 2023, arXiv:2205.14589
# Run:    python tools/train.py configs/maskd/maskd-tokens_frcnn-r101_2k_coco.py
# Cost and result: not run yet.  The box AP is that of the masked teacher.
# Needs: COCO 2017 in data/coco/.
_base_ = [
    'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    '../_base_/distill.py',
    '../_base_/teachers/frcnn-r101_2x_coco.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.MaskLearner',
    teacher=_base_.pop('teacher'),
    # As many as the authors take for detection, at each of five levels.
    masks=dict(neck=dict(layer='neck', tokens=6)))
# The authors' number of iterations; of the host's schedule the warm-up is left.
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=2000, val_interval=2000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=2000))
log_processor = dict(by_epoch=False)
