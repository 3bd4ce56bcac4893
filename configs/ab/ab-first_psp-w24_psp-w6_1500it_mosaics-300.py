# Activation boundaries as published, in two stages: first the boundaries alone, then
# the task alone. On mosaics of photographs.
# Heo et al., AAAI 2019, arXiv:1811.03233
# Run:    python tools/train.py \
#     configs/ab/ab-first_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet. 300 and 1,200 iterations, as many as in one run:
#         python tools/train.py \
#     configs/ab/ab-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# The student alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']

# The task, which is the last stage: labels alone, and the teacher does not run.
model = dict(pairs=dict())
train_cfg = dict(max_iters=1200, val_interval=1200)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=1200,
        T_max=1100),
]

# The boundaries alone: no label counts, and the heads rest. What is compared is what
# the last ReLU of each stage reads; see ab-backbone.
boundaries_alone = {
    'model.task_loss_weights': {'*': 0.0},
    'model.pairs': {
        f'backbone_{stage}': dict(
            layer=f'backbone.layer{stage}.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(type='ABLoss', loss_weight=weight))
        for stage, weight in enumerate([3.75e-4, 7.5e-4, 1.5e-3, 3e-3], start=1)
    },
    'optim_wrapper.paramwise_cfg': dict(
        custom_keys=dict(
            decode_head=dict(lr_mult=0.0), auxiliary_head=dict(lr_mult=0.0))),
    'train_cfg.max_iters': 300,
    'param_scheduler.1.end': 300,
    'param_scheduler.1.T_max': 200,
    # Its maps mean nothing yet.
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
}
stages = dict(
    boundaries=dict(options=boundaries_alone),
    # The adapters are left behind.
    task=dict(options=dict(load_from='{boundaries.student}')))
