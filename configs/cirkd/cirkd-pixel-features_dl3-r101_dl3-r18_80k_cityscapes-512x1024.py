# Cross-image relations and pixels: DeepLabV3 R101 teaches R18, Cityscapes, 80k.
# Yang et al., CVPR 2022, arXiv:2204.06986
# Run:    python tools/train.py \
#     configs/cirkd/cirkd-pixel-features_dl3-r101_dl3-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = ['../_base_/distill/dl3-r101_dl3-r18_80k_cityscapes-512x1024.py']
model = dict(
    pairs=dict(
        # The paper's total has both, with these weights.
        pixel=dict(
            view='seg.logits',
            loss=dict(type='PixelWiseLoss', temperature=1.0, loss_weight=1.0)),
        features=dict(
            view='seg.features',
            loss=dict(
                type='CIRKDLoss',
                num_classes=19,
                batch_weight=1.0,
                pixel_weight=0.1,
                region_weight=0.1))))
