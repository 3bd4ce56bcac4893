# Pearson distillation of the neck: RetinaNet R101 teaches R50, COCO, 2x.
# Cao et al., NeurIPS 2022, arXiv:2207.02039
# Run:    python tools/train.py configs/pkd/pkd-neck_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/retina-r101_retina-r50_2x_coco.py']
model = dict(
    pairs=dict(
        # The first four of five levels, added up as in the paper.
        neck=dict(
            layer='neck',
            levels=[0, 1, 2, 3],
            levels_reduction='sum',
            loss=dict(type='PKDLoss', loss_weight=10.0))))
