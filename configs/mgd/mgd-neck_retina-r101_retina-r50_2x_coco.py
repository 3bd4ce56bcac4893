# Masked generative distillation of the neck: RetinaNet R101 teaches R50, COCO, 2x.
# Yang et al., ECCV 2022, arXiv:2205.01529
# Run:    python tools/train.py configs/mgd/mgd-neck_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/retina-r101_retina-r50_2x_coco.py']
model = dict(
    # As in the released configuration: the student starts from the teacher's neck and
    # head.
    init_from_teacher=['neck', 'bbox_head'],
    pairs=dict(
        # All five levels, added up as in the paper, with its weight.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            loss=dict(type='MGDLoss', masked_ratio=0.65, loss_weight=2e-5))))
