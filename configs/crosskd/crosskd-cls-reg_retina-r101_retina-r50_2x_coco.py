# CrossKD: RetinaNet R101 teaches R50, COCO, 2x.
# Wang et al., CVPR 2024, arXiv:2306.11369
# Run:    python tools/train.py \
#     configs/crosskd/crosskd-cls-reg_retina-r101_retina-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/retina-r101_retina-r50_2x_coco.py']
model = dict(
    pairs=dict(
        # The teacher's head goes on from what the student's third convolutions give.
        cls=dict(view='cross.logits', loss=dict(type='CrossKDLoss')),
        reg=dict(view='cross.boxes', loss=dict(type='BoxIoULoss', kind='giou'))))
