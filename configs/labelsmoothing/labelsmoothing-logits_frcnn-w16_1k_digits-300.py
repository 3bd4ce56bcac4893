# Label smoothing of the classes of RoIs, no teacher, on digits in photographs.
# Mueller et al., NeurIPS 2019, arXiv:1906.02629
# Run:    python tools/train.py \
#     configs/labelsmoothing/labelsmoothing-logits_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py configs/digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w16_1k_digits-300.py']
model = dict(
    # In place of the class loss of the RoI head, whose value it has at smoothing=0.
    task_loss_weights={'loss_cls': 0.0},
    pairs=dict(
        logits=dict(
            view='roi.logits',
            loss=dict(type='LabelSmoothingLoss', smoothing=0.1))))
