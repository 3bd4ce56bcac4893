# Only the soft labels of both stages, background weighted 1.5.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-cls-weighted_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
_base_ = ['../frcnn_kd.py']

model = dict(
    pairs=dict(hint=None, rcn_reg=None, rpn_reg=None))
