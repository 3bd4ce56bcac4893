# Prune, then distill: two rounds of pruning leave 64 % of a teacher's weights; a
# student as wide as these is taught by it, from random weights. On mosaics of
# photographs.
# Park and No 2022, arXiv:2109.14960; the paper classifies images.
# Run:    python tools/train.py \
#     configs/prunedistill/prunedistill-logits_psp-w24_psp-w24_4300it_mosaics-300.py
# Cost and result: not run yet. 1,400 iterations a round, 1,500 of the student. Needs:
# the extra 'prune'.
# The same student, nothing distilled:  python tools/train.py \
#     configs/prunedistill/prunedistill-start_psp-w24_psp-w24_4300it_mosaics-300.py
_base_ = ['../_base_/distill/psp-w24_psp-w24_1500it_mosaics-300.py']

# The student, which is the last stage.
model = dict(
    teacher=dict(checkpoint='{round_2.student}'),
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))

# A fifth of what is left goes in each; the others learn on, by a schedule from its
# beginning.
retrained = dict(cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_1400it_mosaics-128x128.py')
removed = dict(type='kd_plugins.PruneHook', method='magnitude')
stages = dict(
    round_1=dict(
        **retrained,
        options=dict(
            load_from=_base_.model.teacher.checkpoint,
            custom_hooks=[*_base_.custom_hooks, dict(**removed, sparsity=0.2)])),
    round_2=dict(
        **retrained,
        options=dict(
            load_from='{round_1.student}',
            custom_hooks=[*_base_.custom_hooks, dict(**removed, sparsity=0.36)])),
    narrow=dict(
        cfg=_base_.model.teacher.cfg, plan=dict(checkpoint='{round_2.student}')),
    student=dict())
del retrained, removed
