# Structured distillation, with the critic: PSPNet R101 teaches R18, Cityscapes, by the
# paper's schedule, 40k and crops of 512x512.
# Liu et al., CVPR 2019 and TPAMI, arXiv:1903.04197
# Run:    python tools/train.py \
#     configs/skd/skd-full_psp-r101_psp-r18_40k_cityscapes-512x512.py \
#     --cfg-options train_dataloader.batch_size=8
# On four GPUs, with two images each:  bash tools/dist_train.sh \
#     configs/skd/skd-full_psp-r101_psp-r18_40k_cityscapes-512x512.py 4
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
# Alone:  python tools/train.py \
#     configs/cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py
_base_ = [
    '../_base_/distill/psp-r101_psp-r18_40k_cityscapes-512x512.py',
    '../_base_/methods/skd.py',
]
model = dict(pairs=_base_.pop('skd'))
