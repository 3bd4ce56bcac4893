# The system of Chen et al.: Faster R-CNN R50 teaches R18, PASCAL VOC.
# NIPS 2017, https://papers.nips.cc/paper/6676
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full_frcnn-r50_frcnn-r18_1x_voc0712.py
# Cost and result: not run yet.  Needs: VOC 2007 and 2012 in data/VOCdevkit/, and
# the teacher, of which there is no public checkpoint. Train it first, to epoch_4.pth:
#         python tools/train.py mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py
_base_ = ['../pascal_voc/faster-rcnn_r18_fpn_1x_voc0712.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py',
        checkpoint='work_dirs/faster-rcnn_r50_fpn_1x_voc0712/epoch_4.pth'),
    task_loss_weights={'loss_cls': 0.8, 'loss_rpn_cls': 0.8},  # mu
    pairs=dict(
        hint=dict(
            layer='neck',
            adapter=dict(type='ConvAdapter'),
            loss=dict(type='HintLoss', loss_weight=0.5)),  # gamma
        rcn_cls=dict(
            view='roi.logits',
            loss=dict(
                type='WeightedClassKDLoss',
                background_weight=1.5,
                temperature=1.0,
                loss_weight=0.2)),  # 1 - mu
        rcn_reg=dict(
            view='roi.deltas',
            loss=dict(type='TeacherBoundedLoss', margin=0.0, loss_weight=0.5)),  # nu
        rpn_cls=dict(
            view='rpn.logits',
            loss=dict(
                type='WeightedClassKDLoss',
                background_weight=1.5,
                temperature=1.0,
                loss_weight=0.2)),  # 1 - mu
        rpn_reg=dict(
            view='rpn.deltas',
            loss=dict(type='TeacherBoundedLoss', margin=0.0, loss_weight=0.5))))  # nu
