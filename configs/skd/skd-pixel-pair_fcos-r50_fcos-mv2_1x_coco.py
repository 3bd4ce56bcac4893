# Pixel-wise and pair-wise for detection: FCOS R50 teaches MobileNetV2, COCO, 1x.
# Liu et al., TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pixel-pair_fcos-r50_fcos-mv2_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
# Alone:  python tools/train.py configs/coco/fcos_mv2_fpn_gn-head_1x_coco.py
_base_ = ['../coco/fcos_mv2_fpn_gn-head_1x_coco.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        checkpoint=(
            'https://download.openmmlab.com/mmdetection/v2.0/fcos/fcos_r50_caffe_fpn_gn-head_1x_coco/'
            'fcos_r50_caffe_fpn_gn-head_1x_coco-821213aa.pth')),
    pairs=dict(
        # Each class of a point is a question of its own; the paper gives no weights for
        # detection.
        pixel=dict(
            view='head.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0)),
        # Large levels are pooled to about 30x30 nodes.
        pair=dict(
            layer='neck',
            loss=dict(type='PairWiseLoss', max_nodes=900, loss_weight=10.0))))
