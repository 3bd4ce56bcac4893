# The protocol of the report on one-stage detection: what works on heads that judge
# every point, on the digits, each over the same start with nothing distilled and on the
# same batches. Weights are those of the configs: the papers' where a comment says so;
# where at those the gradient would be less than 0.2 or more than 5 of the task's here,
# as large as the task's (tools/analyze.py, at the end of 'start').
# Run:    python tools/benchmark.py configs/benchmarks/methods_digits_one_stage.py
# Cost and result: 2 hours of training (two or three at a time on two cores); see
# docs/benchmark.md. It resumes: --recipes and --seeds run a part of it.
title = 'One-stage detection: digits in photographs'
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
details = ['coco/bbox_mAP_50', 'coco/bbox_mAP_75']
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../digits/gfl_r18-w32_fpn_3k_digits.py',
    checkpoint='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.safetensors',
)

baseline = 'start'
recipes = {
    'start': dict(
        config='../ld/ld-start_gfl-w32_gfl-w16_1k_digits-300.py',
        method='the same start, nothing distilled',
    ),
    'ld': dict(
        config='../ld/ld-main-vlr_gfl-w32_gfl-w16_1k_digits-300.py',
        method='LD, main and valuable region',
    ),
    'crosskd': dict(
        config='../crosskd/crosskd-cls-reg_gfl-w32_gfl-w16_1k_digits-300.py',
        method='CrossKD of classes and boxes',
    ),
    'kd': dict(
        config='../kd/kd-logits_gfl-w32_gfl-w16_1k_digits-300.py',
        method='KD of all points',
        seeds=[0],
    ),
    'pkd': dict(
        config='../pkd/pkd-neck_gfl-w32_gfl-w16_1k_digits-300.py',
        method='PKD of the neck',
        seeds=[0],
    ),
}
# Step cost, of all of them, as measured.
cost = {name: None for name in recipes if name != 'start'}
