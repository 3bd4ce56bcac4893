# Soft labels of the pixels, beside the labels, of a teacher that sees what the student
# sees: images of half the side, on mosaics of photographs.
# Hinton et al. 2015, arXiv:1503.02531
# Run:    python tools/train.py \
#     configs/kd/kd-logits_psp-w24_psp-w6_1500it_mosaics-300-64x64.py
# Cost and result: not run yet.  Needs: that teacher. Train it first:
#         python tools/train.py \
#             configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-64x64.py
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-64x64.py
_base_ = ['../_base_/mosaics_64_student.py', '../_base_/distill.py']
model = dict(
    _delete_=True,
    type='kd_plugins.Distiller',
    student={{_base_.model}},
    teacher=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-64x64.py',
        checkpoint='work_dirs/pspnet_r18-w24-d8_4k_mosaics-64x64/iter_4000.pth'),
    pairs=dict(
        # The loss of gd-resolution, whose teacher sees more: nothing else differs.
        logits=dict(
            view='seg.logits',
            loss=dict(
                type='KDLoss',
                temperature=2.0,
                student_temperature=1.0,
                loss_weight=1.0))))
