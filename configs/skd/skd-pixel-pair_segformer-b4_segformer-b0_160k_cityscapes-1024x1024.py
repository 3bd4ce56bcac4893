# Pixel-wise and pair-wise: SegFormer B4 teaches B0, Cityscapes, 160k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pixel-pair_segformer-b4_segformer-b0_160k_cityscapes-1024x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
    '../_base_/distill.py',
    '../_base_/teachers/segformer-b4_160k_cityscapes-1024x1024.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=_base_.pop('teacher'),
    pairs=dict(
        pixel=dict(
            view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0)),
        # At stride 4 there are four times the nodes of a map at stride 8.
        pair=dict(
            layer='decode_head.fusion_conv',
            loss=dict(type='PairWiseLoss', pool_kernel=4, loss_weight=10.0))))
