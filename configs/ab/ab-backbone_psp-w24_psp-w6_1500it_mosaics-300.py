# Activation boundaries at the end of each stage, then the task alone, on mosaics of
# photographs.
# Heo et al., AAAI 2019, arXiv:1811.03233
# Run:    python tools/train.py \
#     configs/ab/ab-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 6 minutes on one of two busy cores; 38.3 mIoU, the student alone 37.0
# (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/mosaics_student.py', '../_base_/distill.py']

model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'),
    # The paper trains in two stages: the boundaries first, then the labels. How long
    # the first is, 300 of 1,500 iterations, is ours.
    task_loss_weights={
        '*': dict(type='StepSchedule', values=[0, 1], milestones=[300])},
    pairs=dict(
        # What the last ReLU of each stage reads: the block calls its one ReLU twice,
        # and the second call is the block's. The weights are those of the released
        # code, halved from each stage to the one before.
        backbone_1=dict(
            layer='backbone.layer1.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(
                type='ABLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[3.75e-4, 0], milestones=[300]))),
        backbone_2=dict(
            layer='backbone.layer2.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(
                type='ABLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[7.5e-4, 0], milestones=[300]))),
        backbone_3=dict(
            layer='backbone.layer3.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(
                type='ABLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[1.5e-3, 0], milestones=[300]))),
        backbone_4=dict(
            layer='backbone.layer4.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(
                type='ABLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[3e-3, 0], milestones=[300])))))
