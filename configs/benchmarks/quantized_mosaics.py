# A segmentor of few bits on the mosaics: quantised after training, trained so, and
# taught so, by its own float weights or by a bigger teacher; over the same student in
# float, from the same initial weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/quantized_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Segmentation: students of few bits'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
seeds = [0, 1, 2]
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)

baseline = 'alone'
equal_time = ['alone']
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone, in float',
    ),
    'calibrated-w8a8': dict(
        config='../qad/qad-calibrated-w8a8_psp-w6_1516it_mosaics-300.py',
        method='8 bits, after training',
    ),
    'control-w8a8': dict(
        config='../qad/qad-control-w8a8_psp-w6_2k_mosaics-300.py',
        method='8 bits, trained so (QAT)',
    ),
    'w8a8': dict(
        config='../qad/qad-w8a8_psp-w6_2k_mosaics-300.py',
        method='8 bits, QAD',
    ),
    'calibrated-w4a8': dict(
        config='../qad/qad-calibrated-w4a8_psp-w6_1516it_mosaics-300.py',
        method='weights of 4 bits, after training',
    ),
    'control-w4a8': dict(
        config='../qad/qad-control-w4a8_psp-w6_2k_mosaics-300.py',
        method='weights of 4 bits, trained so (QAT)',
    ),
    'w4a8': dict(
        config='../qad/qad-w4a8_psp-w6_2k_mosaics-300.py',
        method='weights of 4 bits, QAD',
    ),
    'distilled-w4': dict(
        config='../polino2018/'
        'polino2018-distilled-w4_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='weights of 4 bits, quantised distillation',
    ),
    'points-w4': dict(
        config='../polino2018/polino2018-points-w4_psp-w6_2k_mosaics-300.py',
        method='16 learnt values, differentiable quantisation',
    ),
    'apprentice-a': dict(
        config='../apprentice/apprentice-a_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='three values, Apprentice A',
        seeds=[0],
    ),
    'apprentice-b': dict(
        config='../apprentice/apprentice-b_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='three values, Apprentice B',
    ),
    'apprentice-c': dict(
        config='../apprentice/apprentice-c_psp-w24_psp-w6_2k_mosaics-300.py',
        method='three values, Apprentice C',
    ),
}
# Does the teacher help? The first is expected above the second.
comparisons = [
    ('control-w8a8', 'calibrated-w8a8'),
    ('w8a8', 'control-w8a8'),
    ('control-w4a8', 'calibrated-w4a8'),
    ('w4a8', 'control-w4a8'),
    ('apprentice-c', 'apprentice-b'),
]
cost = {name: None for name in recipes if name != 'alone'}
