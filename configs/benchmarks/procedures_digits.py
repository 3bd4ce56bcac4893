# What is trained one after the other, on the digits: a procedure of several stages over
# the same student with nothing distilled, and over plain KD of as many seconds. Time is
# that of every stage; a teacher that a recipe is given costs nothing, in any row.
# Run:    python tools/benchmark.py configs/benchmarks/procedures_digits.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Detection: procedures'
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
details = ['coco/bbox_mAP_50', 'coco/bbox_mAP_75']
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
    checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors',
)

baseline = 'start'
equal_time = ['kd', 'start']
recipes = {
    'start': dict(
        config='../chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='the same start, nothing distilled',
    ),
    'alone': dict(
        config='../digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py',
        method='the student alone, from random weights',
        own_start=True,
    ),
    'kd': dict(
        config='../kd/kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='KD of RoIs',
    ),
    'takd': dict(
        config='../takd/takd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py',
        method="TAKD, a teacher's assistant",
        own_start=True,
        note='Starts from the neck and heads of the assistant.',
    ),
    'mtpd': dict(
        config='../mtpd/mtpd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py',
        method='MTPD, sequential teachers',
        own_start=True,
        note='Starts from the neck and heads of the first teacher.',
    ),
    'hint': dict(
        config='../chen2017/chen2017-hint_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Hint beside the task, with adapters',
    ),
    'hint-first': dict(
        config='../hint/hint-first_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='FitNets, the hint first',
    ),
    'aht': dict(
        config='../aht/aht-features_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='AHT beside the task',
        seeds=[0],
    ),
    'aht-first': dict(
        config='../aht/aht-first_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='AHT, the hints first, then AIL',
        seeds=[0],
    ),
    'fsp-first': dict(
        config='../fsp/fsp-first_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='FSP, the flow first',
        seeds=[0],
    ),
}
# Is it the stages? The first is expected above the second.
comparisons = [
    ('takd', 'kd'),
    ('mtpd', 'takd'),
    ('hint-first', 'hint'),
    ('aht-first', 'aht'),
]
cost = {name: None for name in recipes if name not in ('start', 'alone')}
