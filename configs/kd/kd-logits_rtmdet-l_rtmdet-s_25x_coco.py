# Soft labels of all points: RTMDet-l teaches RTMDet-s, COCO, its 300 epochs.
# Hinton et al. 2015, arXiv:1503.02531; the weight is ours.
# Run:    python tools/train.py configs/kd/kd-logits_rtmdet-l_rtmdet-s_25x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_l_8xb32-300e_coco/'
            'rtmdet_l_8xb32-300e_coco_20220719_112030-5a0be7c4.pth')),
    pairs=dict(
        # Which classes are here? At every point of three levels, most of which hold
        # none: as for FCOS in ../skd, ten times the weight.
        logits=dict(
            view='head.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=10.0))))
