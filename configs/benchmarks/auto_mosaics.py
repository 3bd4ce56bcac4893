# Chosen by pairs='auto', against the best single row of methods_mosaics.py, which is
# the baseline here: CWD of the class maps. The bar, over the three protocols auto_*.py:
# in the mean no more than one point below.
# Run:    python tools/benchmark.py configs/benchmarks/auto_mosaics.py
# Cost and result: 40 minutes of training, one at a time;
# auto 43.2 ± 2.0, CWD 43.1 ± 0.5 mIoU.
title = "Segmentation: pairs='auto' and the best single row"
metric = 'mIoU'
unit = 'mIoU'
options = {
    'val_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
    'test_evaluator.type': 'kd_plugins.ClasswiseIoUMetric',
}
seeds = [0, 1, 2]
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)

baseline = 'cwd'
recipes = {
    'cwd': dict(
        config='../cwd/cwd-logits_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='CWD',
    ),
    'auto': dict(
        config='../auto/auto_psp-w24_psp-w6_1500it_mosaics-300.py',
        method="Chosen by pairs='auto'",
    ),
}
