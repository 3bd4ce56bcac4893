# Sequential teachers: the student learns from one of width 24 first, then from one of
# width 32, and is carried on. On digits in photographs.
# Cao et al., ICML 2023, arXiv:2308.09105; what is compared and how long are ours.
# Run:    python tools/train.py \
#     configs/mtpd/mtpd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py
# Cost and result: not run yet. 1,000 iterations for the first teacher, and 500 from
# each. From the first alone:  python tools/train.py \
#     configs/takd/takd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py
# From the second alone:  python tools/train.py \
#     configs/kd/kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']

smaller = dict(
    backbone=dict(base_channels=24, stem_channels=24),
    neck=dict(in_channels=[24, 48, 96, 192]))

# The student under the second teacher, which is the last stage. It is carried on:
# nothing is inherited from this one.
model = dict(
    init_from_teacher=None,
    pairs=dict(
        # As from either of them alone.
        logits=dict(
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
train_cfg = dict(max_iters=500, val_interval=500)
# Each teacher has the whole schedule.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=500,
        T_max=400),
]

heads = ['neck', 'rpn_head', 'roi_head']
stages = dict(
    # The first teacher is taught by the second, as an assistant.
    smaller=dict(
        options={
            'model.student': smaller,
            'model.init_from_teacher': heads,
            'train_cfg': dict(max_iters=1000, val_interval=1000),
            'param_scheduler.1.end': 1000,
            'param_scheduler.1.T_max': 900
        }),
    first=dict(
        options={
            'model.teacher': dict(**smaller, checkpoint='{smaller.student}'),
            'model.init_from_teacher': heads
        }),
    second=dict(options=dict(load_from='{first.student}')))
