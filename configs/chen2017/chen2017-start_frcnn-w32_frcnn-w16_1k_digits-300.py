# Nothing distilled: the student with the teacher's neck and heads to start from, on its
# labels alone. The baseline of the single terms and of the full system.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 5 minutes on one of two busy cores; 37.7 ± 1.5 mAP (mean and
# deviation of seeds 0 to 2, 500 validation images).
_base_ = ['../frcnn_kd.py']

model = dict(
    task_loss_weights=dict(_delete_=True),
    pairs=dict(hint=None, rcn_cls=None, rcn_reg=None, rpn_cls=None, rpn_reg=None))
