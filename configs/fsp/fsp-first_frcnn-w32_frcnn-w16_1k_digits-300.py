# Flow between the levels of the neck as published, in two stages: first the flow alone,
# then the task alone. On digits in photographs.
# Yim et al., CVPR 2017,
# https://openaccess.thecvf.com/content_cvpr_2017/html/Yim_A_Gift_From_CVPR_2017_paper.html
# Run:    python tools/train.py \
#     configs/fsp/fsp-first_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet. 200 and 800 iterations, as many as beside the task:
#         python tools/train.py \
#     configs/fsp/fsp-neck_frcnn-w32_frcnn-w16_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']

# The task, which is the last stage: labels alone, and the teacher does not run.
model = dict(pairs=dict())
train_cfg = dict(max_iters=800, val_interval=800)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=800,
        T_max=700),
]

# The flow alone: no label counts. The neck is inherited from the teacher and stays as
# it is with the heads: the backbone learns to feed it.
flow_alone = {
    'model.task_loss_weights': {'*': 0.0},
    'model.pairs': {
        f'neck_{level + 1}': dict(
            view=dict(
                type='layer.flow',
                first=f'neck.fpn_convs.{level}',
                last=f'neck.fpn_convs.{level + 1}'),
            loss=dict(type='FSPLoss', loss_weight=weight))
        for level, weight in enumerate([2.5e-4, 6.7e-5, 3.3e-5])
    },
    'optim_wrapper.paramwise_cfg': dict(
        custom_keys=dict(
            neck=dict(lr_mult=0.0),
            rpn_head=dict(lr_mult=0.0),
            roi_head=dict(lr_mult=0.0))),
    'train_cfg.max_iters': 200,
    'param_scheduler.1.end': 200,
    'param_scheduler.1.T_max': 100,
    # Its detections mean nothing yet.
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
}
stages = dict(
    flow=dict(options=flow_alone),
    task=dict(options=dict(load_from='{flow.student}')))
