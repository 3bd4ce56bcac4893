# What a student gains without a teacher, on the mosaics: over the same student on its
# labels alone, from the same random weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/no_teacher_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Segmentation: no teacher'
metric = 'mIoU'
unit = 'mIoU'
seeds = [0, 1, 2]

baseline = 'alone'
equal_time = ['pixel', 'alone']
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
    ),
    'pixel': dict(
        config='../skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='KD of pixels, for comparison',
    ),
    'tfnkd': dict(
        config='../tfnkd/tfnkd-logits_psp-w6_1500it_mosaics-300.py',
        method='tf-NKD of pixels',
    ),
    'uskd': dict(
        config='../uskd/uskd-logits_psp-w6_1500it_mosaics-300.py',
        method='USKD of pixels',
    ),
    'zipf': dict(
        config='../zipflabelsmoothing/'
        'zipflabelsmoothing-logits_psp-w6_1500it_mosaics-300.py',
        method="Zipf's labels of pixels",
    ),
}
