# Soft labels of RoIs, all but the highest class permuted, on digits in photographs.
# Furlanello et al., ICML 2018, arXiv:1805.04770
# Run:    python tools/train.py \
#     configs/dkpp/dkpp-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # What do the other classes teach beyond how sure the teacher is of the first?
        # Temperature of the paper.
        logits=dict(
            view='roi.logits',
            target_transform=dict(type='DKPPTransform'),
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))))
