# Only the first stage: soft labels and bounded boxes of the RPN.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-rpn_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
_base_ = ['../frcnn_kd.py']

model = dict(
    task_loss_weights=dict(_delete_=True, loss_rpn_cls=1.0),
    pairs=dict(hint=None, rcn_cls=None, rcn_reg=None))
