# Zipf's label smoothing of pixels, no teacher, on mosaics of photographs.
# Liang et al., ECCV 2022, arXiv:2207.12980
# Run:    python tools/train.py \
#     configs/zipflabelsmoothing/zipflabelsmoothing-logits_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w6_1500it_mosaics-300.py']
model = dict(
    pairs=dict(
        # The classes other than the label's fall as one over their rank, by the votes
        # of the pixels around. Weight of the paper for ImageNet.
        logits=dict(
            view='seg.logits',
            loss=dict(
                type='ZipfLabelSmoothingLoss', power=1.0, window=7, loss_weight=0.1))))
