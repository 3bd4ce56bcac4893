# Only the boxes of both stages, bounded by the error of the teacher.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-reg-bounded_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 39.3 ± 1.0 mAP (mean and
# deviation of seeds 0 to 2, 500 validation images; the same start alone 37.7).
_base_ = ['../frcnn_kd.py']

model = dict(
    # No soft labels here, so the hard ones count in full.
    task_loss_weights=dict(_delete_=True),
    pairs=dict(hint=None, rcn_cls=None, rpn_cls=None))
