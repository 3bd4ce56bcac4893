# A Faster R-CNN of width 32 with half of its multiply-adds learns on,
# nothing distilled, on digits in photographs.
# Groups of channels: Fang et al. 2023, arXiv:2301.12900
# Run:    python tools/train.py \
#     configs/pruned/pruned-start_frcnn-w32_frcnn-w32_1k_digits-300.py
# Cost and result: not run yet. 1,000 iterations. Needs: the extra 'prune'.
_base_ = ['./pruned-logits_frcnn-w32_frcnn-w32_1k_digits-300.py']
model = dict(pairs=dict(logits=None))

stages = dict(distil=dict())
