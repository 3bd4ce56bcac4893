# Pruned on the digits: a Faster R-CNN of width 32 loses half of its multiply-adds, and
# learns on with the whole one as its teacher, or alone.
# Run:    python tools/benchmark.py configs/benchmarks/pruned_digits.py
# Cost and result: not run yet.  Needs: the extra 'prune'.
title = 'Detection: pruned'
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
# What has stages is not made longer yet.
equal_time = []
recipes = {
    'start': dict(
        config='../pruned/pruned-start_frcnn-w32_frcnn-w32_1k_digits-300.py',
        method='half of the multiply-adds, nothing distilled',
    ),
    'logits': dict(
        config='../pruned/pruned-logits_frcnn-w32_frcnn-w32_1k_digits-300.py',
        method='half of the multiply-adds, taught by the whole model',
    ),
}
comparisons = [('logits', 'start')]
