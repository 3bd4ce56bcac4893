# Masked generative distillation of the neck: Faster R-CNN R101 teaches R50, COCO, 2x.
# Yang et al., ECCV 2022, arXiv:2205.01529
# Run:    python tools/train.py configs/mgd/mgd-neck_frcnn-r101_frcnn-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/frcnn-r101_frcnn-r50_2x_coco.py']
model = dict(
    pairs=dict(
        # The first four of five levels, added up as in the paper, with its weight.
        neck=dict(
            layer='neck',
            levels=[0, 1, 2, 3],
            levels_reduction='sum',
            loss=dict(type='MGDLoss', masked_ratio=0.45, loss_weight=5e-7))))
