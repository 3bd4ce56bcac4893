# The protocol of the embedded detection benchmark: the system of Chen et al. 2017, its
# single terms, and the same start with nothing distilled, on the same batches. Beside
# them the student alone, from random weights.
# Run:    python tools/benchmark.py      (its default; paths are relative to this file)
# Cost and result: 95 minutes on two cores beside other work, 169 minutes of processor
# time; full system 53.9 mAP over 37.7 of the same start: see README.md.
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
        config='../chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py'),
    'alone': dict(
        config='../digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py', own_start=True),
    'full': dict(config='../frcnn_kd.py'),
    'hint': dict(
        config='../chen2017/chen2017-hint_frcnn-w32_frcnn-w16_1k_digits-300.py'),
    'hint-no-adapter': dict(
        config='../chen2017/chen2017-hint-no-adapter_frcnn-w32_frcnn-w16_1k_digits-300.py'),
    'cls-plain': dict(
        config='../chen2017/chen2017-cls-plain_frcnn-w32_frcnn-w16_1k_digits-300.py'),
    'cls-weighted': dict(
        config='../chen2017/chen2017-cls-weighted_frcnn-w32_frcnn-w16_1k_digits-300.py'),
    'reg-l2': dict(
        config='../chen2017/chen2017-reg-l2_frcnn-w32_frcnn-w16_1k_digits-300.py'),
    'reg-bounded': dict(
        config='../chen2017/chen2017-reg-bounded_frcnn-w32_frcnn-w16_1k_digits-300.py'),
}
# The paper's ablation: is the first above the second?
comparisons = [
    ('cls-weighted', 'cls-plain'),
    ('reg-bounded', 'reg-l2'),
    ('hint', 'hint-no-adapter'),
]
# Step cost: at most so many times that of student, plain teacher and adapters together,
# on a CPU with bfloat16 units, where the teacher runs as a fast copy.
cost = dict(hint=0.95, full=0.90)
