# A teacher that is trained with label smoothing: that of the embedded segmentation
# benchmark, with nothing else changed.
# Mueller et al., NeurIPS 2019, arXiv:1906.02629
# Run:    python tools/train.py \
#     configs/labelsmoothing/labelsmoothing-logits_psp-w24_4k_mosaics.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py
_base_ = [
    '../_base_/models/pspnet_r18_mosaics.py',
    '../_base_/datasets/mosaics.py',
    '../_base_/schedules/schedule_scratch.py',
    '../_base_/schedules/cosine_4k.py',
    '../_base_/mmseg_runtime.py',
    '../_base_/distill.py',
]
train_cfg = dict(max_iters=4000, val_interval=1000)
param_scheduler = _base_.pop('cosine_4k')
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=None,
    # In place of the decode head's loss. The auxiliary head keeps its own.
    task_loss_weights={'decode.loss_ce': 0.0},
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='LabelSmoothingLoss', smoothing=0.1))))
