# Overhauled feature distillation at the end of each stage, on mosaics of photographs.
# Heo et al., ICCV 2019, arXiv:1904.01866
# Run:    python tools/train.py \
#     configs/ofd/ofd-backbone_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: 9 minutes on one of two busy cores; 43.3 mIoU, the student alone 37.0
# (seed 0 only, 400 validation images).
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    # What the last ReLU of each stage reads: the block calls its one ReLU twice, and
    # the second call is the block's. As in the released code, weights halve from each
    # stage to the one before. At its own for segmentation, 1e-5 at the last, the
    # gradient would be 0.036 of the task's here (tools/analyze.py, at a student that
    # was trained without it); 28 times that gives 1.
    pairs={
        f'backbone_{stage}': dict(
            layer=f'backbone.layer{stage}.1.relu',
            value='input',
            levels=[1],
            adapter=dict(type='ConvAdapter', norm=True),
            loss=dict(type='OFDLoss', loss_weight=weight))
        for stage, weight in enumerate([3.5e-5, 7e-5, 1.4e-4, 2.8e-4], start=1)
    })
