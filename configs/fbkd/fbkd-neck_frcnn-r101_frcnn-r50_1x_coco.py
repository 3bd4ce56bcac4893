# Feature-based distillation of the neck: Faster R-CNN R101 teaches R50, COCO, 1x.
# Zhang and Ma, ICLR 2021, https://openreview.net/forum?id=uKhGRvM8QNH
# Run:    python tools/train.py configs/fbkd/fbkd-neck_frcnn-r101_frcnn-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/frcnn-r101_frcnn-r50_1x_coco.py']
model = dict(
    pairs=dict(
        # The first four of five levels, added up as in the paper.
        neck=dict(
            layer='neck',
            levels=[0, 1, 2, 3],
            levels_reduction='sum',
            loss=dict(type='FBKDLoss'))))
