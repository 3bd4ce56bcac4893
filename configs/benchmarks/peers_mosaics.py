# What a student gains from a peer that learns too, on the mosaics: over the same
# student on its labels alone, from the same random weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/peers_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Segmentation: peers'
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
    'dml': dict(
        config='../dml/dml-logits_psp-w6_psp-w6_1500it_mosaics-300.py',
        method='DML of pixels',
    ),
    'bdkd': dict(
        config='../bdkd/bdkd-online_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='BD-KD of pixels, online',
    ),
    'switokd': dict(
        config='../switokd/switokd-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='SwitOKD of pixels',
    ),
    'sokd': dict(
        config='../sokd/sokd-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='SOKD of pixels',
    ),
}
