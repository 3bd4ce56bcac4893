# Overhauled feature distillation at the end of each stage, on mosaics of photographs.
# Heo et al., ICCV 2019, arXiv:1904.01866
# Run:    python tools/train.py \
#     configs/ofd/ofd-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 9 minutes on one of two busy cores; 43.3 mIoU, the student alone 37.0
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
    pairs=dict(
        # What the last ReLU of each stage reads: the block calls its one ReLU twice,
        # and the second call is the block's. As in the released code, weights halve
        # from each stage to the one before. At its own for segmentation, 1e-5 at the
        # last, the gradient would be 0.036 of the task's here (tools/analyze.py, at a
        # student that was trained without it); 28 times that gives 1.
        backbone_1=dict(
            layer='backbone.layer1.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(type='OFDLoss', loss_weight=3.5e-5)),
        backbone_2=dict(
            layer='backbone.layer2.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(type='OFDLoss', loss_weight=7e-5)),
        backbone_3=dict(
            layer='backbone.layer3.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(type='OFDLoss', loss_weight=1.4e-4)),
        backbone_4=dict(
            layer='backbone.layer4.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(type='OFDLoss', loss_weight=2.8e-4))))
