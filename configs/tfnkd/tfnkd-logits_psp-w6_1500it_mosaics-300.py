# Teacher-free normalised distillation of pixels, no teacher, on mosaics of photographs.
# Yang et al. 2022, arXiv:2208.10139
# Run:    python tools/train.py \
#     configs/tfnkd/tfnkd-logits_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # The label of a pixel weighs the more, the surer the student is of it beside
        # the other pixels of the batch. Weight of the paper.
        logits=dict(
            view='seg.logits',
            loss=dict(type='TfNKDLoss', loss_weight=1.0))))
