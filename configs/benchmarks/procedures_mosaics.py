# What is trained one after the other, or by several teachers, on the mosaics: over the
# student alone, from the same initial weights and on the same batches, and over plain
# KD of as many seconds. Time is that of every stage; a teacher that a recipe is given
# costs nothing, in any row.
# Run:    python tools/benchmark.py configs/benchmarks/procedures_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.  Needs: the teachers of camkd, rco and eskd, trained as
# the headers of their configs say.
title = 'Segmentation: procedures'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
# Of recipes that are in methods_mosaics.py too, whose finished runs may be copied
# beside these.
as_there = {
    'val_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
    'test_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
}
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)

baseline = 'alone'
equal_time = ['pixel', 'alone']
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
        options=as_there,
    ),
    'pixel': dict(
        config='../skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='KD of pixels',
        options=as_there,
    ),
    'takd': dict(
        config='../takd/takd-w12_psp-w24_psp-w6_3k_mosaics-300.py',
        method="TAKD, a teacher's assistant",
    ),
    'mtpd': dict(
        config='../mtpd/mtpd-w12_psp-w24_psp-w6_3k_mosaics-300.py',
        method='MTPD, sequential teachers',
    ),
    'eskd-gate': dict(
        config='../eskd/eskd-gate_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='KD that stops at 60 %',
    ),
    'eskd': dict(
        config='../eskd/eskd-short-teacher_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='ESKD, a short teacher too',
    ),
    'ban': dict(
        config='../ban/ban-generations_psp-w6_4500it_mosaics-300.py',
        method='BAN, three generations',
    ),
    'rco': dict(
        config='../rco/rco-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='RCO, a route of four',
        seeds=[0],
    ),
    'camkd': dict(
        config='../camkd/camkd-logits-features_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='CA-MKD, three teachers',
    ),
    'ebkd': dict(
        config='../camkd/camkd-entropy_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='EBKD, three teachers',
        seeds=[0],
    ),
    'average': dict(
        config='../camkd/camkd-average_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='the average of three teachers',
        seeds=[0],
    ),
    'ab': dict(
        config='../ab/ab-backbone_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='AB, in one run',
        options=as_there,
        seeds=[0],
    ),
    'ab-first': dict(
        config='../ab/ab-first_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='AB, the boundaries first',
        seeds=[0],
    ),
    'posteriors': dict(
        config='../kd/kd-posteriors_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='posteriors alone, no label (Li et al.)',
        seeds=[0],
    ),
    'tfnkd': dict(
        config='../tfnkd/tfnkd-logits_psp-w6_1500it_mosaics-300.py',
        method='tf-NKD, no teacher',
    ),
}
# Is it the procedure? The first is expected above the second.
comparisons = [
    ('takd', 'pixel'),
    ('mtpd', 'takd'),
    ('eskd-gate', 'pixel'),
    ('eskd', 'pixel'),
    ('ban', 'pixel'),
    ('camkd', 'average'),
    ('ab-first', 'ab'),
]
del as_there
cost = {name: None for name in recipes if name != 'alone'}
