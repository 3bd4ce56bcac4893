# A detector of few bits on the digits: quantised after training, trained so, and taught
# so by its own float weights; over the same student in float, from the same initial
# weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/quantized_digits.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Detection: students of few bits'
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
details = ['coco/bbox_mAP_50', 'coco/bbox_mAP_75']
seeds = [0, 1, 2]
teacher = dict(
    config='../digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
    checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors',
)

baseline = 'alone'
equal_time = ['alone']
recipes = {
    'alone': dict(
        config='../digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py',
        method='the student alone, in float',
    ),
}
for name, method in {
    'calibrated-w8a8': '8 bits, after training',
    'control-w8a8': '8 bits, trained so (QAT)',
    'w8a8': '8 bits, QAD',
    'calibrated-w4a8': 'weights of 4 bits, after training',
    'control-w4a8': 'weights of 4 bits, trained so (QAT)',
    'w4a8': 'weights of 4 bits, QAD',
}.items():
    schedule = '1016it' if name.startswith('calibrated') else '1300it'
    recipes[name] = dict(
        config=f'../qad/qad-{name}_frcnn-w16_{schedule}_digits-300.py', method=method
    )
# Does the teacher help? The first is expected above the second.
comparisons = [
    ('control-w8a8', 'calibrated-w8a8'),
    ('w8a8', 'control-w8a8'),
    ('control-w4a8', 'calibrated-w4a8'),
    ('w4a8', 'control-w4a8'),
]
del name, method, schedule
cost = {recipe: None for recipe in recipes if recipe != 'alone'}
