# Chosen by pairs='auto', against the best single row of methods_digits_one_stage.py,
# which is the baseline here: PKD of the neck. The bar, over the three protocols
# auto_*.py: in the mean no more than one point below.
# Run:    python tools/benchmark.py configs/benchmarks/auto_digits_one_stage.py
# Cost and result: 40 minutes of training, one at a time;
# auto 59.1 ± 2.0, PKD 58.3 ± 1.0 mAP.
title = "Detection by one stage: pairs='auto' and the best single row"
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]
teacher = dict(
    config='../digits/gfl_r18-w32_fpn_3k_digits.py',
    checkpoint='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.safetensors',
)

baseline = 'pkd'
recipes = {
    'pkd': dict(
        config='../pkd/pkd-neck_gfl-w32_gfl-w16_1k_digits-300.py',
        method='PKD of the neck',
    ),
    'auto': dict(
        config='../auto/auto_gfl-w32_gfl-w16_1k_digits-300.py',
        method="Chosen by pairs='auto'",
    ),
}
