# Pairs chosen by what both models are: GFL R101 teaches R50, COCO, 1x: the neck by PKD
# (Cao et al., NeurIPS 2022, arXiv:2207.02039), where each edge of a box may lie by LD
# (Zheng et al., CVPR 2022, arXiv:2102.12252).
# Run:    python tools/train.py configs/auto/auto_gfl-r101_gfl-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/gfl-r101_gfl-r50_1x_coco.py']
model = dict(pairs=dict(type='auto'))
