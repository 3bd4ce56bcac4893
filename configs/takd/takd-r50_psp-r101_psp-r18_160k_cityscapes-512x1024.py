# A teacher's assistant for segmentation: PSPNet R101 teaches R50, and R50 teaches R18,
# Cityscapes, 80k each.
# Mirzadeh et al. 2020, arXiv:1902.03393; the paper classifies images.
# Run:    python tools/train.py \
#     configs/takd/takd-r50_psp-r101_psp-r18_160k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/. Without the
# assistant, the same student stage:  python tools/train.py \
#     configs/skd/skd-pixel_psp-r101_psp-r18_80k_cityscapes-512x1024.py
_base_ = ['../_base_/distill/psp-r101_psp-r18_80k_cityscapes-512x1024.py']
assistant = dict(cfg='mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py')

# The student, which is the last stage. Its teacher is the assistant's last checkpoint:
# mmsegmentation's own R50 of the same schedule was not taught.
model = dict(
    teacher=dict(**assistant, checkpoint='{assistant.student}'),
    pairs=dict(
        # As without the assistant.
        pixel=dict(
            view='seg.logits', loss=dict(type='PixelWiseLoss', loss_weight=10.0))))

stages = dict(
    assistant=dict(
        options={
            'model.student': dict(_delete_=True, **assistant),
            'model.teacher': dict(_delete_=True, **_base_.model.teacher)
        }),
    student=dict())
del assistant
