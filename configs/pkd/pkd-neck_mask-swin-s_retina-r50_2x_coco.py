# Pearson distillation of the neck: Mask R-CNN Swin-S, of two stages, teaches a
# RetinaNet R50, of one, COCO, 2x.  Cao et al., NeurIPS 2022, arXiv:2207.02039
# Run:    python tools/train.py configs/pkd/pkd-neck_mask-swin-s_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::retinanet/retinanet_r50_fpn_2x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::swin/mask-rcnn_swin-s-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/swin/mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco/'
            'mask_rcnn_swin-s-p4-w7_fpn_fp16_ms-crop-3x_coco_20210903_104808-b92c91f1.pth')),
    pairs=dict(
        # Four levels of the same stride, added up as in the paper: RetinaNet's begin at
        # 8, those of Mask R-CNN at 4.
        neck=dict(
            layer='neck',
            levels=dict(student=[0, 1, 2, 3], teacher=[1, 2, 3, 4]),
            levels_reduction='sum',
            loss=dict(type='PKDLoss', loss_weight=6.0))))
