# The system of Chen et al.: Faster R-CNN R50 teaches R18, PASCAL VOC.
# NIPS 2017, https://papers.nips.cc/paper/6676
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full_frcnn-r50_frcnn-r18_1x_voc0712.py
# Cost and result: not run yet.  Needs: VOC 2007 and 2012 in data/VOCdevkit/, and
# the teacher, of which there is no public checkpoint. Train it first, to epoch_4.pth:
#         python tools/train.py mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py
_base_ = [
    '../pascal_voc/faster-rcnn_r18_fpn_1x_voc0712.py',
    '../_base_/distill.py',
    '../_base_/methods/chen2017.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py',
        checkpoint='work_dirs/faster-rcnn_r50_fpn_1x_voc0712/epoch_4.pth'),
    **_base_.pop('chen2017'))
