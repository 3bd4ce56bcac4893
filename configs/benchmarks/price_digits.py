# What a distillation brings, and what it costs: one row by hand, chosen by a plain
# teacher, a fast one (the default) and a cached one of eight seeded views; what
# pairs='auto' chooses; Chen et al., all terms. Each over the same start with nothing
# distilled, and over that start trained for as many seconds.
# Run:    python tools/benchmark.py configs/benchmarks/price_digits.py
# Then the same with --cost, and with --equal-time.
# Cost and result: 2.5 hours of training, one at a time; docs/equal_time.md and
# docs/fast_teacher.md. 'full' with the fast teacher: not run yet.
title = 'Detection: gain and price'
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]
teacher = dict(
    config='../digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
    checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors',
)

baseline = 'start'
recipes = {
    'start': dict(
        config='../chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='the same start, nothing distilled',
    ),
    'pkd': dict(
        config='../pkd/pkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='PKD, the fast teacher',
    ),
    'pkd-plain': dict(
        config='../pkd/pkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py',
        options={'model.teacher.fast': False},
        method='PKD, the plain teacher',
    ),
    'pkd-cached': dict(
        config='../pkd/pkd-neck-cached_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='PKD, eight views, the teacher cached',
    ),
    'auto': dict(
        config='../auto/auto_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method="Chosen by pairs='auto'",
    ),
    'full': dict(config='../frcnn_kd.py', method='Chen et al., all terms'),
}
comparisons = [('pkd', 'pkd-plain'), ('pkd-cached', 'pkd-plain'), ('auto', 'pkd')]
cost = {name: None for name in recipes if name != 'start'}
