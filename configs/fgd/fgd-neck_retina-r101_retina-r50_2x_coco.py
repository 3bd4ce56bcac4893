# Focal and global distillation of the neck: RetinaNet R101 teaches R50, COCO, 2x.
# Yang et al., CVPR 2022, arXiv:2111.11837
# Run:    python tools/train.py configs/fgd/fgd-neck_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/retina-r101_retina-r50_2x_coco.py']
model = dict(
    # As in the released configuration: the student starts from the teacher's neck and
    # head.
    init_from_teacher=['neck', 'bbox_head'],
    pairs=dict(
        # All five levels, added up as in the paper, with its weights; that of the
        # attention is the released configuration's.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            loss=dict(
                type='FGDLoss',
                foreground_weight=1e-3,
                background_weight=5e-4,
                attention_weight=5e-4,
                context_weight=5e-6))))
