# Generalized distillation: the student sees noisy images, the teacher the clean ones,
# on mosaics of photographs.
# Lopez-Paz et al., ICLR 2016, arXiv:1511.03643; temperature, weight and noise are ours.
# Run:    python tools/train.py \
#     configs/gd/gd-noise_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Student alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-noise-128x128.py
_base_ = ['../_base_/mosaics_noise_student.py', '../_base_/distill.py']

model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        type='kd_plugins.Privileged',
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'),
    pairs=dict(
        # Soft labels of the image before the noise.
        noise=dict(
            view='seg.logits',
            loss=dict(
                type='KDLoss',
                temperature=2.0,
                student_temperature=1.0,
                loss_weight=1.0))))
# Flips and colours are shared; then the student's image is made noisy.
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
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
