# PSPNet R101 teaches R18, Cityscapes, by the schedule of Liu et al. 2019. What is
# compared there inherits it and adds its pairs.
_base_ = [
    '../../cityscapes/pspnet_r18-d8_40k_cityscapes-512x512.py',
    '../distill.py',
]
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    # mmsegmentation's R101 of 40k has 78.34 mIoU; the teacher of Liu et al. has 78.3.
    teacher=dict(
        cfg='mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-512x1024.py',
        checkpoint=(
            'https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x1024_40k_cityscapes/'
            'pspnet_r101-d8_512x1024_40k_cityscapes_20200604_232751-467e7cf4.pth')))
