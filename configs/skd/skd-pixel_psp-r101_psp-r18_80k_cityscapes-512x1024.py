# Pixel-wise distillation: PSPNet R101 teaches R18, Cityscapes, 80k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pixel_psp-r101_psp-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = ['../_base_/distill/psp-r101_psp-r18_80k_cityscapes-512x1024.py']
model = dict(
    pairs=dict(
        pixel=dict(
            view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0))))
