# Soft labels of a batch of which a tenth is mixed, logits over their deviation, on
# mosaics of photographs.
# Choi et al., WACV 2023, arXiv:2211.03946
# Run:    python tools/train.py \
#     configs/mixkd/mixkd-partial_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
_base_ = ['./mixkd-full_psp-w24_psp-w6_1500it_mosaics-300.py']
# Share of the paper: nine tenths stay as they are.
custom_hooks = [
    *_base_.custom_hooks[:-1],
    dict(type='kd_plugins.MixedBatchesHook', alpha=1.0, share=0.1),
]
