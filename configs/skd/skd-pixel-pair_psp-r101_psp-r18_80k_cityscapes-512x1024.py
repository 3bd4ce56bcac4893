# Pixel-wise and pair-wise: PSPNet R101 teaches R18, Cityscapes, 80k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-pixel-pair_psp-r101_psp-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = ['./skd-pixel_psp-r101_psp-r18_80k_cityscapes-512x1024.py']
model = dict(
    pairs=dict(
        pair=dict(
            layer='decode_head.bottleneck',
            loss=dict(type='PairWiseLoss', pool_kernel=2, loss_weight=10.0))))
