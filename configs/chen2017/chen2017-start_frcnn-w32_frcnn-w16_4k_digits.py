# Nothing distilled, in the second protocol: all 4,000 labels, 4,000 iterations.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_4k_digits.py
# Cost and result: not run yet.
_base_ = ['./chen2017-full-no-adapter_frcnn-w32_frcnn-w16_4k_digits.py']

model = dict(
    task_loss_weights=dict(_delete_=True),
    pairs=dict(hint=None, rcn_cls=None, rcn_reg=None, rpn_cls=None, rpn_reg=None))
