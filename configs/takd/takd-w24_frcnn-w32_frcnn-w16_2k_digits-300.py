# A teacher's assistant, half as much wider than the student as the teacher is: width 32
# teaches 24, and 24 teaches 16. On digits in photographs.
# Mirzadeh et al. 2020, arXiv:1902.03393
# Run:    python tools/train.py \
#     configs/takd/takd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py
# Cost and result: not run yet. 1,000 iterations each. Without the assistant, the same
# student stage:  python tools/train.py \
#     configs/kd/kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py
# Without it, as many iterations in all:  the same command, and --cfg-options \
#     train_cfg.max_iters=2000 param_scheduler.1.end=2000 param_scheduler.1.T_max=1900
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']

assistant = dict(
    backbone=dict(base_channels=24, stem_channels=24),
    neck=dict(in_channels=[24, 48, 96, 192]))

# The student, which is the last stage. Its teacher is the assistant: the paper takes
# the best checkpoint, here the last, the one that is validated.
model = dict(
    teacher=dict(**assistant, checkpoint='{assistant.student}'),
    pairs=dict(
        # As without the assistant. The paper searches temperature and weight.
        logits=dict(
            view='roi.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))

stages = dict(
    assistant=dict(
        options={
            'model.student': assistant,
            'model.teacher': dict(_delete_=True, **_base_.model.teacher)
        }),
    student=dict())
