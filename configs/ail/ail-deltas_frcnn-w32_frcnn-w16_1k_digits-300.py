# Attentive imitation of the boxes of the second stage, on digits in photographs.
# Saputra et al., ICCV 2019, arXiv:1908.00858
# Run:    python tools/train.py \
#     configs/ail/ail-deltas_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 39.5 mAP, the same start 36.7
# (seed 0 only, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # Where is the object? The more the teacher errs on a box, the less it counts.
        # The range of its errors is followed as they come; the paper takes it of the
        # whole training set before.
        deltas=dict(
            view='roi.deltas',
            loss=dict(
                type='AILLoss',
                mode='attentive',
                normalizer='running',
                warmup=100,
                loss_weight=1.0))))
