# Focal and global distillation of the neck: Faster R-CNN R101 teaches R50, COCO, 2x.
# Yang et al., CVPR 2022, arXiv:2111.11837
# Run:    python tools/train.py configs/fgd/fgd-neck_frcnn-r101_frcnn-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/frcnn-r101_frcnn-r50_2x_coco.py']
model = dict(
    pairs=dict(
        # The first four of five levels, added up as in the paper, with its weights.
        neck=dict(
            layer='neck',
            levels=[0, 1, 2, 3],
            levels_reduction='sum',
            loss=dict(
                type='FGDLoss',
                foreground_weight=5e-5,
                background_weight=2.5e-5,
                attention_weight=5e-5,
                context_weight=5e-7))))
