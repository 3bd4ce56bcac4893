# Pairs chosen by what both models are: PSPNet R101 teaches R18, Cityscapes, 40k and
# crops of 512x512: the class maps by CWD (Shu et al., ICCV 2021, arXiv:2011.13256).
# Run:    python tools/train.py \
#     configs/auto/auto_psp-r101_psp-r18_40k_cityscapes-512x512.py \
#     --cfg-options train_dataloader.batch_size=8
# On four GPUs, with two images each:  bash tools/dist_train.sh \
#     configs/auto/auto_psp-r101_psp-r18_40k_cityscapes-512x512.py 4
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
# Alone:  python tools/train.py \
#     configs/cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py
_base_ = ['../_base_/distill/psp-r101_psp-r18_40k_cityscapes-512x512.py']
model = dict(pairs=dict(type='auto'))
