# Pairs chosen by what both models are: Faster R-CNN R101 teaches R50, COCO, 1x: the
# neck by PKD (Cao et al., NeurIPS 2022, arXiv:2207.02039), the classes of the RoIs by
# NKD (Yang et al. 2022, arXiv:2208.10139).
# Run:    python tools/train.py configs/auto/auto_frcnn-r101_frcnn-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/frcnn-r101_frcnn-r50_1x_coco.py']
model = dict(pairs=dict(type='auto'))
