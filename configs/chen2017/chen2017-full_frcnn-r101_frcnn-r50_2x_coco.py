# The system of Chen et al.: Faster R-CNN R101 teaches R50, COCO, 2x.
# NIPS 2017, https://papers.nips.cc/paper/6676
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-full_frcnn-r101_frcnn-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = [
    '../_base_/distill/frcnn-r101_frcnn-r50_2x_coco.py',
    '../_base_/methods/chen2017.py',
]
model = _base_.pop('chen2017')
