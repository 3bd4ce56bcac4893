# The protocol of the report on segmentation: the methods that the field knows by name,
# on the mosaics, each over the same student with nothing distilled, from the same
# initial weights and on the same batches. Three seeds for those most asked for, one for
# the rest. Weights are those of the configs: the papers' where a comment says so; where
# at those the gradient would be less than 0.2 or more than 5 of the task's here, as
# large as the task's (tools/analyze.py, at the end of 'alone').
# Run:    python tools/benchmark.py configs/benchmarks/methods_mosaics.py
# Cost and result: 5.5 hours of training (two or three at a time on two cores); see
# docs/benchmark.md. It resumes: --recipes and --seeds run a part of it.
title = 'Segmentation: mosaics of photographs'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
# As in skd_mosaics.py, whose finished runs may be copied beside these.
options = {
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
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
    ),
    'pixel': dict(
        config='../skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='KD of pixels (Hinton; Liu, pixel-wise)',
    ),
    'pixel-pair': dict(
        config='../skd/skd-pixel-pair_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='SKD, pixel- and pair-wise',
    ),
    'full': dict(config='../seg_skd.py', method='SKD, with the critic'),
    'cwd': dict(
        config='../cwd/cwd-logits_psp-w24_psp-w6_1500it_mosaics-300.py', method='CWD'
    ),
    'dist': dict(
        config='../dist/dist-logits_psp-w24_psp-w6_1500it_mosaics-300.py', method='DIST'
    ),
    'at': dict(
        config='../at/at-backbone_psp-w24_psp-w6_1500it_mosaics-300.py', method='AT'
    ),
    'at-gradient': dict(
        config='../at/at-gradient_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='AT, gradient-based',
        seeds=[0],
    ),
    'cirkd': dict(
        config='../cirkd/cirkd-features_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='CIRKD',
        seeds=[0],
    ),
    'maskd': dict(
        config='../maskd/maskd-logits-auxiliary_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='MasKD',
        note='First: python tools/train.py '
        'configs/maskd/maskd-tokens_psp-w24_500it_mosaics.py',
        seeds=[0],
    ),
    'nst': dict(
        config='../nst/nst-backbone_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='NST',
        seeds=[0],
    ),
    'ofd': dict(
        config='../ofd/ofd-backbone_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='OFD',
        seeds=[0],
    ),
    'ab': dict(
        config='../ab/ab-backbone_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='AB',
        note='In two stages: time is that of a step of the first, 300 of 1,500.',
        seeds=[0],
    ),
    'crd': dict(
        config='../crd/crd-features_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='CRD of pixels',
        seeds=[0],
    ),
}
# Step cost, of all of them, as measured.
cost = {name: None for name in recipes if name != 'alone'}
