# Only the second stage: soft labels and bounded boxes of the RoI head.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-rcn_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
_base_ = ['../frcnn_kd.py']

model = dict(
    task_loss_weights=dict(_delete_=True, loss_cls=1.0),
    pairs=dict(hint=None, rpn_cls=None, rpn_reg=None))
