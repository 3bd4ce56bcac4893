# The teacher's posteriors of mixed images and no label: temperature 1, on mosaics of
# photographs.
# Stanton et al., NeurIPS 2021, arXiv:2106.05945
# Run:    python tools/train.py \
#     configs/kd/kd-posteriors-mixed_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Nothing mixed:  python tools/train.py \
#     configs/kd/kd-posteriors_psp-w24_psp-w6_1500it_mosaics-300.py
_base_ = ['./kd-posteriors_psp-w24_psp-w6_1500it_mosaics-300.py']
# More data to distil on, of the same images: each mixed with another one.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='kd_plugins.MixedBatchesHook', alpha=1.0, share=1.0),
]
