# A Faster R-CNN of width 32 with half of its multiply-adds is taught by the whole one,
# on digits in photographs.
# Groups of channels: Fang et al. 2023, arXiv:2301.12900
# Run:    python tools/train.py \
#     configs/pruned/pruned-logits_frcnn-w32_frcnn-w32_1k_digits-300.py
# Cost and result: not run yet. 1,000 iterations. Needs: the extra 'prune'.
# The same pruned student, nothing distilled:  python tools/train.py \
#     configs/pruned/pruned-start_frcnn-w32_frcnn-w32_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w32_1k_digits-300.py']
model = dict(
    pairs=dict(
        logits=dict(
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
load_from = '{narrow.student}'

stages = dict(
    narrow=dict(
        cfg=_base_.model.teacher.cfg,
        prune=dict(checkpoint=_base_.model.teacher.checkpoint, flops=0.5)),
    distil=dict())
