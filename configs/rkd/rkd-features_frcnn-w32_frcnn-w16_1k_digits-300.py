# Distances and angles between the RoIs of a batch, on digits in photographs.
# Park et al., CVPR 2019, arXiv:1904.05068
# Run:    python tools/train.py \
#     configs/rkd/rkd-features_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 24.5 mAP, the same start 36.7
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # How far apart are the RoIs, and at which angles, as the classifier reads them?
        # Weights as for classification.
        features=dict(
            view='roi.features',
            loss=dict(type='RKDLoss', distance_weight=25.0, angle_weight=50.0))))
