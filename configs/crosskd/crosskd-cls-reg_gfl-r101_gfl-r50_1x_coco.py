# CrossKD: GFL R101 teaches R50, COCO, 1x.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_gfl-r101_gfl-r50_1x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/gfl-r101_gfl-r50_1x_coco.py']
model = dict(
    pairs=dict(
        # The teacher's head goes on from what the student's third convolutions give.
        cls=dict(view='cross.logits', loss=dict(type='CrossKDLoss')),
        reg=dict(
            view='cross.distributions',
            loss=dict(type='LDLoss', temperature=1.0, loss_weight=4.0))))
