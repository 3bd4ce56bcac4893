# Pearson distillation of the neck, on digits in photographs.
# Cao et al., NeurIPS 2022, arXiv:2207.02039
# Run:    python tools/train.py \
#     configs/pkd/pkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 52.4 ± 0.6 mAP, the same start
# 37.7 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # What remains of the features without their magnitude. With the released
        # weight for Faster R-CNN; as there, the levels are added up.
        neck=dict(
            layer='neck',
            levels_reduction='sum',
            loss=dict(type='PKDLoss', loss_weight=6.0))))
