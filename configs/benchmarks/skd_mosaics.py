# The protocol of the embedded segmentation benchmark: the ladder of Liu et al. 2019
# (pixel, + pair, + holistic) over the same student with nothing distilled, from the
# same initial weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/skd_mosaics.py
# Cost and result: 70 minutes on two cores beside other work; the ladder ends at
# 41.4 mIoU over 38.4 of the student alone: see README.md.
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc', 'IoU.*']
# The host's metric, which then also gives the IoU of each class.
options = {
    'val_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
    'test_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
}
seeds = [0, 1, 2]
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors')

baseline = 'alone'
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'),
    'pixel': dict(
        config='../skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py'),
    'pixel-pair': dict(
        config='../skd/skd-pixel-pair_psp-w24_psp-w6_1500it_mosaics-300.py'),
    'full': dict(config='../seg_skd.py'),
}
# The ladder: does each rung rise above the one below it?
comparisons = [
    ('pixel', 'alone'),
    ('pixel-pair', 'pixel'),
    ('full', 'pixel-pair'),
]
# Step cost: at most so many times that of student, plain teacher and adapters together,
# on a CPU with bfloat16 units, where the teacher runs as a fast copy.
cost = {'pixel': 0.85, 'pixel-pair': 0.90, 'full': 0.90}
