# FitNets as published, in two stages: first the hint alone, then the task with soft
# labels. On digits in photographs.
# Romero et al. 2015, https://arxiv.org/abs/1412.6550
# Run:    python tools/train.py \
#     configs/hint/hint-first_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet. 300 and 700 iterations, as many as the hint beside the
# task:   python tools/train.py \
#     configs/chen2017/chen2017-hint_frcnn-w32_frcnn-w16_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']

# The task, which is the last stage.
model = dict(
    pairs=dict(
        # Temperature 3, and a weight from 4 down to 1, as the authors' code has them
        # on CIFAR; theirs is without the square of the temperature that is in ours.
        logits=dict(
            view='roi.logits',
            loss=dict(
                type='KDLoss',
                temperature=3.0,
                loss_weight=dict(
                    type='LinearRamp', start=4 / 9, end=1 / 9, until=700)))))
train_cfg = dict(max_iters=700, val_interval=700)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=700,
        T_max=600),
]

# The hint alone: no label counts, and what lies behind the guided layer rests.
hint_alone = {
    'model.task_loss_weights': {'*': 0.0},
    'model.pairs': dict(
        _delete_=True,
        hint=dict(
            layer='neck',
            adapter=dict(type='ConvAdapter'),
            loss=dict(type='HintLoss'))),
    'optim_wrapper.paramwise_cfg': dict(
        custom_keys=dict(rpn_head=dict(lr_mult=0.0), roi_head=dict(lr_mult=0.0))),
    'train_cfg.max_iters': 300,
    'param_scheduler.1.end': 300,
    'param_scheduler.1.T_max': 200,
    # Its detections mean nothing yet.
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
}
stages = dict(
    hint=dict(options=hint_alone),
    # The regressor is left behind.
    task=dict(options=dict(load_from='{hint.student}')))
