# Masked distillation of the neck: Faster R-CNN R101 teaches R50, COCO, 2x.
# Huang et al., ICLR 2023, arXiv:2205.14589
# First:  python tools/train.py configs/maskd/maskd-tokens_frcnn-r101_2k_coco.py
# Run:    python tools/train.py \
#     configs/maskd/maskd-neck_frcnn-r101_frcnn-r50_2x_coco.py
# Cost and result: not run yet.  Needs: COCO 2017 in data/coco/.
_base_ = ['../_base_/distill/frcnn-r101_frcnn-r50_2x_coco.py']
model = dict(
    pairs=dict(
        # The authors' weight, 1, is read as that of each of the five levels, which add
        # up. After an epoch, of 16 images a step, the masks are the student's too.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            adapter=dict(type='ConvAdapter'),
            loss=dict(
                type='MasKDLoss',
                tokens='work_dirs/maskd-tokens_frcnn-r101_2k_coco/iter_2000.pth',
                customize_after=7330))))
