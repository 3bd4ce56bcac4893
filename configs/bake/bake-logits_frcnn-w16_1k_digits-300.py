# Batch knowledge ensembling of RoIs, no teacher, on digits in photographs.
# Ge et al. 2021, arXiv:2104.13298
# Run:    python tools/train.py \
#     configs/bake/bake-logits_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w16_1k_digits-300.py']
model = dict(
    pairs=dict(
        # RoIs of a batch that resemble one another teach one another, those of the
        # background left out. Values of the paper for ImageNet.
        logits=dict(
            view='roi.logits',
            loss=dict(
                type='BAKELoss', temperature=4.0, omega=0.5, loss_weight=1.0))))
