# Only the soft labels of both stages, all classes weighted alike.
# Chen et al., NIPS 2017, https://papers.nips.cc/paper/6676; on digits in photographs.
# Run:    python tools/train.py \
#     configs/chen2017/chen2017-cls-plain_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: 7 minutes on one of two busy cores; 39.5 ± 1.0 mAP (mean and
# deviation of seeds 0 to 2, 500 validation images; the same start alone 37.7).
_base_ = ['../frcnn_kd.py']

model = dict(
    pairs=dict(
        hint=None,
        rcn_cls=dict(loss=dict(background_weight=1.0)),
        rcn_reg=None,
        rpn_cls=dict(loss=dict(background_weight=1.0)),
        rpn_reg=None))
