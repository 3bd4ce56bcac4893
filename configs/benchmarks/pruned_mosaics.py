# Pruned on the mosaics: a PSPNet of width 24 loses half of its multiply-adds, and
# learns on with the whole one as its teacher, or alone; beside it pruned teachers, and
# students as wide as what these have left. Time is that of every stage.
# Run:    python tools/benchmark.py configs/benchmarks/pruned_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.  Needs: the extra 'prune'.
title = 'Segmentation: pruned'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)

baseline = 'start'
# What has stages is not made longer yet.
equal_time = ['alone']
recipes = {
    'start': dict(
        config='../pruned/pruned-start_psp-w24_psp-w24_1500it_mosaics-300.py',
        method='half of the multiply-adds, nothing distilled',
    ),
    'logits': dict(
        config='../pruned/pruned-logits_psp-w24_psp-w24_1500it_mosaics-300.py',
        method='half of the multiply-adds, taught by the whole model',
    ),
    'chance': dict(
        config='../pruned/pruned-start_psp-w24_psp-w24_1500it_mosaics-300.py',
        method='other channels, by chance; nothing distilled',
        options={'stages.narrow.prune.importance': 'random'},
        seeds=[0],
        own_start=True,
    ),
    'planned': dict(
        config='../prunedistill/prunedistill-start_psp-w24_psp-w24_4300it_mosaics-300.py',
        method='as wide as a pruned teacher, nothing distilled',
        own_start=True,
    ),
    'prunedistill': dict(
        config='../prunedistill/prunedistill-logits_psp-w24_psp-w24_4300it_mosaics-300.py',
        method='prune, then distill',
        own_start=True,
    ),
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='width 6, alone',
        own_start=True,
    ),
    'prue': dict(
        config='../prue/prue-logits_psp-w24_psp-w6_2900it_mosaics-300.py',
        method='width 6, taught by a teacher pruned by PrUE',
        own_start=True,
    ),
    'prue-magnitude': dict(
        config='../prue/prue-magnitude_psp-w24_psp-w6_2900it_mosaics-300.py',
        method='width 6, taught by a teacher pruned by magnitude',
        own_start=True,
    ),
}
# Is it the distillation, the criterion? The first is expected above the second.
comparisons = [
    ('logits', 'start'),
    ('start', 'chance'),
    ('prunedistill', 'planned'),
    ('prue', 'alone'),
    ('prue', 'prue-magnitude'),
]
