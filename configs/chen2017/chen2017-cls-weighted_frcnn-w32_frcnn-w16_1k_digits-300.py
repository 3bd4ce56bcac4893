# Only the soft labels of both stages, background weighted 1.5.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-cls-weighted_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 38.9 ± 0.5 mAP (mean and
# deviation of seeds 0 to 2, 500 validation images; the same start alone 37.7).
_base_ = ['../frcnn_kd.py']

model = dict(
    pairs=dict(hint=None, rcn_reg=None, rpn_reg=None))
