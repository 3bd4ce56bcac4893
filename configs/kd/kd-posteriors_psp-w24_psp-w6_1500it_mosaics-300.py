# The teacher's posteriors and no label: temperature 1, on mosaics of photographs.
# Li, Zhao, Huang and Gong, Interspeech 2014; Hinton et al. 2015, arXiv:1503.02531
# Run:    python tools/train.py \
#     configs/kd/kd-posteriors_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet. As no label counts, any image will do:
#         ... --cfg-options train_dataloader.dataset.ann_file=splits/train.txt
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    task_loss_weights={'*': 0.0},
    pairs=dict(
        # Which class does the teacher give this pixel, and how sure is it?
        posteriors=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))))
