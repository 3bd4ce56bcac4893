# Localization distillation: GFL R101 teaches R50, COCO, 1x.
# Zheng et al., CVPR 2022, arXiv:2102.12252
# Run:    python tools/train.py configs/ld/ld-main-vlr_gfl-r101_gfl-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/gfl-r101_gfl-r50_1x_coco.py', '../_base_/methods/ld.py']
model = dict(pairs=_base_.pop('ld'))
