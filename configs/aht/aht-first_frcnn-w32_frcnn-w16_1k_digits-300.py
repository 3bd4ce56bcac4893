# Attentive hints, then attentive imitation: first the features of RoIs alone, each the
# more the better the teacher finds its box, then the task. On digits in photographs.
# Saputra et al., ICCV 2019, arXiv:1908.00858; weights and lengths are ours.
# Run:    python tools/train.py \
#     configs/aht/aht-first_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet. 300 and 700 iterations, as many as the imitation alone:
#         python tools/train.py \
#     configs/ail/ail-deltas_frcnn-w32_frcnn-w16_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']

# The task, which is the last stage, with attentive imitation of the boxes.
model = dict(
    pairs=dict(
        deltas=dict(
            view='roi.deltas',
            loss=dict(
                type='AILLoss',
                mode='attentive',
                normalizer='running',
                warmup=100,
                loss_weight=1.0))))
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

# The hints alone: no label counts, and what lies behind the guided layer, with the
# RPN, rests. The guided layer is what the classes and boxes of a RoI are read from.
hints_alone = {
    'model.task_loss_weights': {'*': 0.0},
    'model.pairs': dict(
        _delete_=True,
        features=dict(
            view=dict(type='roi.features', target='teacher_error'),
            loss=dict(
                type='AHTLoss', normalizer='running', warmup=100, loss_weight=1.0))),
    'optim_wrapper.paramwise_cfg': dict(
        custom_keys={
            'rpn_head': dict(lr_mult=0.0),
            'roi_head.bbox_head.fc_cls': dict(lr_mult=0.0),
            'roi_head.bbox_head.fc_reg': dict(lr_mult=0.0)
        }),
    'train_cfg.max_iters': 300,
    'param_scheduler.1.end': 300,
    'param_scheduler.1.T_max': 200,
    # Its detections mean nothing yet.
    'val_dataloader': None,
    'val_cfg': None,
    'val_evaluator': None,
}
stages = dict(
    hint=dict(options=hints_alone),
    task=dict(options=dict(load_from='{hint.student}')))
