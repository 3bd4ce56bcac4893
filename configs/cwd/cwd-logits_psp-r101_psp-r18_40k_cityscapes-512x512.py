# Channel-wise distillation of the class maps: PSPNet R101 teaches R18, Cityscapes, by
# the paper's schedule, 40k and crops of 512x512.
# Shu et al., ICCV 2021, arXiv:2011.13256
# Run:    python tools/train.py \
#     configs/cwd/cwd-logits_psp-r101_psp-r18_40k_cityscapes-512x512.py \
#     --cfg-options train_dataloader.batch_size=8
# On four GPUs, with two images each:  bash tools/dist_train.sh \
#     configs/cwd/cwd-logits_psp-r101_psp-r18_40k_cityscapes-512x512.py 4
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
# Alone:  python tools/train.py \
#     configs/cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py
_base_ = ['../_base_/distill/psp-r101_psp-r18_40k_cityscapes-512x512.py']
model = dict(
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='CWDLoss', temperature=4.0, loss_weight=3.0))))
