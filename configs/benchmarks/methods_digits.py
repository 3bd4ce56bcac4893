# The protocol of the report on detection: the methods that the field knows by name, on
# the digits, each over the same start with nothing distilled and on the same batches.
# Three seeds for those most asked for, one for the rest. Weights are those of the
# configs: the papers' where a comment says so; where at those the gradient would be
# less than 0.2 or more than 5 of the task's here, as large as the task's
# (tools/analyze.py, at the end of 'start').
# Run:    python tools/benchmark.py configs/benchmarks/methods_digits.py
# Cost and result: 5.5 hours of training (two or three at a time on two cores); see
# docs/benchmark.md. It resumes: --recipes and --seeds run a part of it.
title = 'Detection: digits in photographs'
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
recipes = {
    'start': dict(
        config='../chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='the same start, nothing distilled',
    ),
    'chen2017': dict(config='../frcnn_kd.py', method='Chen et al., all terms'),
    'hint': dict(
        config='../chen2017/chen2017-hint-no-adapter_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Hint (FitNets), the neck',
    ),
    'hint-adapter': dict(
        config='../chen2017/chen2017-hint_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Hint, with adapters',
    ),
    'cls-weighted': dict(
        config='../chen2017/chen2017-cls-weighted_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Weighted soft labels',
    ),
    'reg-bounded': dict(
        config='../chen2017/chen2017-reg-bounded_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Boxes, teacher-bounded',
    ),
    'reg-l2': dict(
        config='../chen2017/chen2017-reg-l2_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='Boxes, L2',
    ),
    'kd': dict(
        config='../kd/kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='KD of RoIs',
    ),
    'dkd': dict(
        config='../dkd/dkd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='DKD',
        seeds=[0],
    ),
    'fgd': dict(
        config='../fgd/fgd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py', method='FGD'
    ),
    'mgd': dict(
        config='../mgd/mgd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py', method='MGD'
    ),
    'pkd': dict(
        config='../pkd/pkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py', method='PKD'
    ),
    'fbkd': dict(
        config='../fbkd/fbkd-neck_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='FBKD',
        seeds=[0],
    ),
    'kd-standardized': dict(
        config='../kd/kd-standardized_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='KD, standardised logits',
        seeds=[0],
    ),
    'logitl2': dict(
        config='../logitl2/logitl2-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='L2 of logits',
        seeds=[0],
    ),
    'nkd': dict(
        config='../nkd/nkd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='NKD',
        seeds=[0],
    ),
    'bdkd': dict(
        config='../bdkd/bdkd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='BDKD',
        seeds=[0],
    ),
    'fsp': dict(
        config='../fsp/fsp-neck_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='FSP',
        note='Beside the task. In two stages, as the paper: 6.2 mAP (seed 0).',
        seeds=[0],
    ),
    'sp': dict(
        config='../sp/sp-features_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='SP',
        seeds=[0],
    ),
    'cc': dict(
        config='../cc/cc-features_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='CC',
        seeds=[0],
    ),
    'rkd': dict(
        config='../rkd/rkd-features_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='RKD',
        seeds=[0],
    ),
    'darkrank': dict(
        config='../darkrank/darkrank-features_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='DarkRank',
        seeds=[0],
    ),
    'ail': dict(
        config='../ail/ail-deltas_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='AIL of boxes',
        seeds=[0],
    ),
}
# Step cost, of all of them, as measured.
cost = {name: None for name in recipes if name != 'start'}
