# Masked generative distillation: PSPNet R101 teaches R18, Cityscapes, by the paper's
# schedule, 40k and crops of 512x512.
# Yang et al., ECCV 2022, arXiv:2205.01529
# Run:    python tools/train.py \
#     configs/mgd/mgd-backbone-logits_psp-r101_psp-r18_40k_cityscapes-512x512.py \
#     --cfg-options train_dataloader.batch_size=8
# On four GPUs, with two images each:  bash tools/dist_train.sh \
#     configs/mgd/mgd-backbone-logits_psp-r101_psp-r18_40k_cityscapes-512x512.py 4
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
# Alone:  python tools/train.py \
#     configs/cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py
_base_ = ['../_base_/distill/psp-r101_psp-r18_40k_cityscapes-512x512.py']
model = dict(
    pairs=dict(
        # The last feature of the backbone, of which 75 % of the pixels are masked.
        backbone=dict(
            layer='backbone',
            levels=[3],
            adapter=dict(type='ConvAdapter'),
            loss=dict(type='MGDLoss', masked_ratio=0.75, loss_weight=2e-5)),
        # Beside it, in the released configuration for segmentation.
        logits=dict(
            view='seg.logits',
            loss=dict(type='CWDLoss', temperature=4.0, loss_weight=3.0))))
