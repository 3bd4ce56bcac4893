# The second protocol, beside the first: all 4,000 labels and 4,000 iterations. The
# student is short of capacity there, but neither of labels nor of time.
# Run:    python tools/benchmark.py configs/benchmarks/chen2017_digits_4k.py --seeds 0
# Cost and result: not run yet.
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]
teacher = dict(
    config='../digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
    checkpoint='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.safetensors')

baseline = 'start'
recipes = {
    'start': dict(
        config='../chen2017/chen2017-start_frcnn-w32_frcnn-w16_4k_digits.py'),
    'full': dict(
        config='../chen2017/chen2017-full-no-adapter_frcnn-w32_frcnn-w16_4k_digits.py'),
    'alone': dict(
        config='../digits/faster-rcnn_r18-w16_fpn_4k_digits.py', own_start=True),
}
