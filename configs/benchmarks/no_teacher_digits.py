# What a student gains without a teacher, on the digits: over the same student on its
# labels alone, from the same random weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/no_teacher_digits.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Detection: no teacher'
metric = 'coco/bbox_mAP'
scale = 100
unit = 'mAP'
seeds = [0, 1, 2]

baseline = 'alone'
equal_time = ['kd', 'alone']
recipes = {
    'alone': dict(
        config='../digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py',
        method='the student alone',
    ),
    # From random weights too, as nothing else here has a teacher to start from.
    'kd': dict(
        config='../kd/kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        options={'model.init_from_teacher': None},
        method='KD of RoIs, for comparison',
    ),
    'labelsmoothing': dict(
        config='../labelsmoothing/'
        'labelsmoothing-logits_frcnn-w16_1k_digits-300.py',
        method='Label smoothing of RoIs',
    ),
    'bake': dict(
        config='../bake/bake-logits_frcnn-w16_1k_digits-300.py',
        method='BAKE of RoIs',
    ),
    'bake-sampled': dict(
        config='../bake/bake-logits-sampled_frcnn-w16_1k_digits-300.py',
        method='BAKE of RoIs, batches by class',
        seeds=[0],
    ),
}
