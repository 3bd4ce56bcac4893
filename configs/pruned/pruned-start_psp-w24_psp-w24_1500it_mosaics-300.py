# A PSPNet of width 24 with half of its multiply-adds learns on,
# nothing distilled, on mosaics of photographs.
# Groups of channels: Fang et al. 2023, arXiv:2301.12900
# Run:    python tools/train.py \
#     configs/pruned/pruned-start_psp-w24_psp-w24_1500it_mosaics-300.py
# Cost and result: not run yet. 1,500 iterations. Needs: the extra 'prune'.
_base_ = ['./pruned-logits_psp-w24_psp-w24_1500it_mosaics-300.py']
model = dict(pairs=dict(logits=None))

stages = dict(distil=dict())
