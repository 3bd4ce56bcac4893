# What a distillation brings, and what it costs: one row by hand, chosen by a plain
# teacher, a fast one (the default) and a cached one of eight seeded views; what
# pairs='auto' chooses; structured distillation with its critic. Each over the student
# alone, and over the student alone trained for as many seconds.
# Run:    python tools/benchmark.py configs/benchmarks/price_mosaics.py
# Then the same with --cost, and with --equal-time.
# Cost and result: 2 hours of training, one at a time; docs/equal_time.md and
# docs/fast_teacher.md. 'full' with the fast teacher: not run yet.
title = 'Segmentation: gain and price'
metric = 'mIoU'
unit = 'mIoU'
seeds = [0, 1, 2]
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)
# As in methods_mosaics.py.
options = {
    'val_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
    'test_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
}

baseline = 'alone'
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
    ),
    'cwd': dict(
        config='../cwd/cwd-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='CWD, the fast teacher',
    ),
    'cwd-plain': dict(
        config='../cwd/cwd-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
        options={'model.teacher.fast': False},
        method='CWD, the plain teacher',
    ),
    'cwd-cached': dict(
        config='../cwd/cwd-logits-cached_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='CWD, eight views, the teacher cached',
    ),
    'auto': dict(
        config='../auto/auto_psp-w24_psp-w6_1500it_mosaics-300.py',
        method="Chosen by pairs='auto'",
    ),
    'full': dict(config='../seg_skd.py', method='SKD, with the critic'),
}
comparisons = [('cwd', 'cwd-plain'), ('cwd-cached', 'cwd-plain'), ('auto', 'cwd')]
cost = {name: None for name in recipes if name != 'alone'}
