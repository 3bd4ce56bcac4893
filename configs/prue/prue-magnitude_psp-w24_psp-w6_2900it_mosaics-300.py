# The control of PrUE: the teacher loses its smallest weights instead, and teaches.
# On mosaics of photographs.
# Wang et al. 2022, arXiv:2207.00586; the paper classifies images.
# Run:    python tools/train.py \
#     configs/prue/prue-magnitude_psp-w24_psp-w6_2900it_mosaics-300.py
# Cost and result: not run yet. 1,400 iterations of the teacher, 1,500 of the student.
# By the dense teacher, the same student stage:  python tools/train.py \
#     configs/skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py
# The student alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']

# The student, which is the last stage.
model = dict(
    teacher=dict(checkpoint='{sparse.student}'),
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))

stages = dict(
    # Half of the trained teacher's weights go, and the others learn on, by a schedule
    # from its beginning.
    sparse=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_1400it_mosaics-128x128.py',
        options=dict(
            load_from=_base_.model.teacher.checkpoint,
            custom_hooks=[
                *_base_.custom_hooks,
                dict(type='kd_plugins.PruneHook', method='magnitude', sparsity=0.5)])),
    student=dict())
