# Focal and global distillation of the neck: RetinaNet R101 teaches R50, COCO, 2x.
# Yang et al., CVPR 2022, arXiv:2111.11837
# Run:    python tools/train.py configs/fgd/fgd-neck_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::retinanet/retinanet_r101_fpn_2x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r101_fpn_2x_coco/'
            'retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth')),
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
