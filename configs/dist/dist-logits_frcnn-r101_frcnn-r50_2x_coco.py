# Correlations of classes of the RoIs: Faster R-CNN R101 teaches R50, COCO, 2x.
# Huang et al., NeurIPS 2022, arXiv:2205.10536
# Run:    python tools/train.py configs/dist/dist-logits_frcnn-r101_frcnn-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/frcnn-r101_frcnn-r50_2x_coco.py']
model = dict(
    pairs=dict(
        logits=dict(
            view='roi.logits',
            loss=dict(type='DISTLoss', beta=1.0, gamma=1.0, loss_weight=1.0))))
