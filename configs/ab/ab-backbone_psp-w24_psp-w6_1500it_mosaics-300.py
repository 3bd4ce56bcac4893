# Activation boundaries at the end of each stage, then the task alone, on mosaics of
# photographs.
# Heo et al., AAAI 2019, arXiv:1811.03233
# Run:    python tools/train.py \
#     configs/ab/ab-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 6 minutes on one of two busy cores; 38.3 mIoU, the student alone 37.0
# (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    # The paper trains in two stages: the boundaries first, then the labels. How long
    # the first is, 300 of 1,500 iterations, is ours.
    task_loss_weights={
        '*': dict(type='StepSchedule', values=[0, 1], milestones=[300])},
    # What the last ReLU of each stage reads: the block calls its one ReLU twice, and
    # the second call is the block's. The weights are those of the released code, halved
    # from each stage to the one before.
    pairs={
        f'backbone_{stage}': dict(
            layer=f'backbone.layer{stage}.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(
                type='ABLoss',
                loss_weight=dict(
                    type='StepSchedule', values=[weight, 0], milestones=[300])))
        for stage, weight in enumerate([3.75e-4, 7.5e-4, 1.5e-3, 3e-3], start=1)
    })
