# Only the boxes of both stages, drawn to the teacher's: what the paper finds worse.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-reg-l2_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 38.9 ± 1.8 mAP (mean and
# deviation of seeds 0 to 2, 500 validation images; the same start alone 37.7).
_base_ = ['../frcnn_kd.py']

model = dict(
    # No soft labels here, so the hard ones count in full.
    task_loss_weights=dict(_delete_=True),
    pairs=dict(
        hint=None,
        rcn_cls=None,
        rcn_reg=dict(loss=dict(_delete_=True, type='DeltaL2Loss', loss_weight=0.5)),
        rpn_cls=None,
        rpn_reg=dict(loss=dict(_delete_=True, type='DeltaL2Loss', loss_weight=0.5))))
