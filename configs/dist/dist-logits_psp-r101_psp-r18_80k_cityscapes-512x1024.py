# Correlations of classes: PSPNet R101 teaches R18, Cityscapes, 80k.
# Huang et al., NeurIPS 2022, arXiv:2205.10536
# Run:    python tools/train.py \
#     configs/dist/dist-logits_psp-r101_psp-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = [
    'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    '../_base_/distill.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='mmseg::pspnet/pspnet_r101-d8_4xb2-80k_cityscapes-512x1024.py',
        checkpoint=(
            'https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x1024_80k_cityscapes/'
            'pspnet_r101-d8_512x1024_80k_cityscapes_20200606_112211-e1e1100f.pth')),
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='DISTLoss', beta=1.0, gamma=1.0, loss_weight=1.0))))
