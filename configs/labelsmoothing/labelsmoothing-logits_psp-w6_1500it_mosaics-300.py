# Label smoothing of the classes of pixels, no teacher, on mosaics of photographs.
# Mueller et al., NeurIPS 2019, arXiv:1906.02629
# Run:    python tools/train.py \
#     configs/labelsmoothing/labelsmoothing-logits_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w6_1500it_mosaics-300.py']
model = dict(
    # In place of the decode head's loss. The auxiliary head keeps its own.
    task_loss_weights={'decode.loss_ce': 0.0},
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='LabelSmoothingLoss', smoothing=0.1))))
