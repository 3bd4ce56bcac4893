# Pairs chosen by what both models are, of two stages, on digits in photographs: the
# neck by PKD (Cao et al., NeurIPS 2022, arXiv:2207.02039), the classes of the RoIs by
# NKD (Yang et al. 2022, arXiv:2208.10139).
# Run:    python tools/train.py \
#     configs/auto/auto_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 5 minutes on one of two busy cores; 55.0 ± 1.2 mAP, the same start
# 37.7 (seeds 0 to 2, 500 validation images).
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
# The same start, nothing distilled:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
model = dict(
    # The summary shows which. A change is written beside: logits=None removes one.
    pairs=dict(type='auto'))
