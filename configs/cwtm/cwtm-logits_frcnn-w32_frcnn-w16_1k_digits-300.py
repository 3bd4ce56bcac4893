# Labels of RoIs weighed by how sure the teacher is, on digits in photographs.
# Furlanello et al., ICML 2018, arXiv:1805.04770
# Run:    python tools/train.py \
#     configs/cwtm/cwtm-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    # The weighed cross-entropy stands in place of the RoI head's own.
    task_loss_weights={'loss_cls': 0.0},
    pairs=dict(
        # The teacher says how much each RoI counts, and nothing else.
        logits=dict(
            view='roi.logits',
            target_transform=dict(type='CWTMTransform'),
            loss=dict(type='LabelSmoothingLoss', smoothing=0.0, loss_weight=1.0))))
