# Channel-wise distillation of the neck: RetinaNet R101 teaches R50, COCO, 2x.
# Shu et al., ICCV 2021, arXiv:2011.13256
# Run:    python tools/train.py configs/cwd/cwd-neck_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/retina-r101_retina-r50_2x_coco.py']
model = dict(
    pairs=dict(
        # The first four of five levels, added up as in the released code.
        neck=dict(
            layer='neck',
            levels=[0, 1, 2, 3],
            levels_reduction='sum',
            loss=dict(type='CWDLoss', temperature=1.0, loss_weight=5.0))))
