# Chosen by pairs='auto', against the best single row of methods_digits.py, which is the
# baseline here: PKD of the neck. The bar, over the three protocols auto_*.py: in the
# mean no more than one point below.
# Run:    python tools/benchmark.py configs/benchmarks/auto_digits.py
# Cost and result: 40 minutes of training, one at a time;
# auto 55.0 ± 1.2, PKD 52.9 ± 0.6 mAP.
title = "Detection by two stages: pairs='auto' and the best single row"
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]
teacher = dict(
    config='../digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
    checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors',
)

baseline = 'pkd'
recipes = {
    'pkd': dict(
        config='../pkd/pkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='PKD',
    ),
    'auto': dict(
        config='../auto/auto_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method="Chosen by pairs='auto'",
    ),
}
