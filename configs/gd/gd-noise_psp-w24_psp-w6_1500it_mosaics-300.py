# Generalized distillation: the student sees noisy images, the teacher the clean ones,
# on mosaics of photographs.
# Lopez-Paz et al., ICLR 2016, arXiv:1511.03643; temperature, weight and noise are ours.
# Run:    python tools/train.py \
#     configs/gd/gd-noise_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Student alone:  the same, with
#     --cfg-options model.pairs.noise.loss.loss_weight=0
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    teacher=dict(type='kd_plugins.Privileged'),
    pairs=dict(
        # Soft labels of the image before the noise.
        noise=dict(
            view='seg.logits',
            loss=dict(
                type='KDLoss',
                temperature=2.0,
                student_temperature=1.0,
                loss_weight=1.0))))
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', backend_args=None),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(
        type='kd_plugins.PackPairedInputs',
        student=[dict(type='kd_plugins.GaussianNoise', std=50.0)],
        pack=dict(type='PackSegInputs')),
]
# Of each validation image the same noise every time.
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', backend_args=None),
    dict(type='kd_plugins.GaussianNoise', std=50.0, seed=0),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
