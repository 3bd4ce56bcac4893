# What a teacher teaches by labels of its own, and on mixed images, on the mosaics: over
# the same student on its labels alone, from the same random weights and on as many
# batches.
# Run:    python tools/benchmark.py configs/benchmarks/mixed_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Segmentation: pseudo-labels and mixed images'
metric = 'mIoU'
unit = 'mIoU'
seeds = [0, 1, 2]
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
    ),
    'pixel': dict(
        config='../skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='KD of pixels (Hinton; Liu, pixel-wise)',
    ),
    'pseudo-labels': dict(
        config='../pseudolabel/'
        'pseudolabel-maps_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='Pseudo-labels of 2,700 images',
    ),
    'mixkd': dict(
        config='../mixkd/mixkd-full_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='MIX-KD, all images mixed',
        seeds=[0],
    ),
    'mixkd-partial': dict(
        config='../mixkd/mixkd-partial_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='MIX-KD, a tenth of the images mixed',
        seeds=[0],
    ),
}
