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
_base_ = [
    '../cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py',
    '../_base_/distill.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-512x1024.py',
        checkpoint=(
            'https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x1024_40k_cityscapes/'
            'pspnet_r101-d8_512x1024_40k_cityscapes_20200604_232751-467e7cf4.pth')),
    pairs=dict(type='auto'))
