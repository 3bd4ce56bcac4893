# The protocol of the embedded depth benchmark: pair-wise and holistic distillation of
# Liu et al. over the same student with nothing distilled, from the same initial weights
# and on the same batches. The score is an error: lower is better.
# Run:    python tools/benchmark.py configs/benchmarks/skd_planes.py
# Cost and result: not run yet.
metric = 'rmse'
lower_is_better = True
scale = 100
unit = 'cm RMSE'
seeds = [0, 1, 2]
teacher = dict(
    config='../planes/depth_r18-w32_2k_planes-128x128.py',
    checkpoint='kd_plugins::planes/depth_r18-w32_2k_planes-128x128.safetensors')

baseline = 'alone'
recipes = {
    'alone': dict(config='../planes/depth_r18-w16_1k_planes-300-128x128.py'),
    'pair': dict(
        config='../skd/skd-pair_depth-w32_depth-w16_1k_planes-300.py'),
    'pair-holistic': dict(
        config='../skd/skd-pair-holistic_depth-w32_depth-w16_1k_planes-300.py'),
}
comparisons = [
    ('pair', 'alone'),
    ('pair-holistic', 'pair'),
]
# Step cost: at most so many times that of student, teacher and adapters together;
# with the critic as measured.
cost = {'pair': 1.10, 'pair-holistic': None}
