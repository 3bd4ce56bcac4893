# Structured distillation: DeepLabV3 R101 teaches R18, Cityscapes, 80k.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-full_dl3-r101_dl3-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    '../_base_/distill/dl3-r101_dl3-r18_80k_cityscapes-512x1024.py',
    '../_base_/methods/skd.py',
]
model = dict(pairs=_base_.pop('skd'))
