# What a teacher teaches by labels of its own, and on mixed images, on the digits: over
# the same start with nothing distilled, on as many batches.
# Run:    python tools/benchmark.py configs/benchmarks/mixed_digits.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Detection: pseudo-labels and mixed images'
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]
teacher = dict(
    config='../digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
    checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors',
)

baseline = 'start'
equal_time = ['kd', 'start']
recipes = {
    'start': dict(
        config='../chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='the same start, labels only',
    ),
    'kd': dict(
        config='../kd/kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='KD of RoIs (Hinton)',
    ),
    'pseudo-labels': dict(
        config='../pseudolabel/'
        'pseudolabel-boxes_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Pseudo-labels of 3,700 images',
    ),
    'mixkd': dict(
        config='../mixkd/mixkd-full_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='MIX-KD of RoIs',
        seeds=[0],
    ),
}
