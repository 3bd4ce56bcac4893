# What a student gains from a peer that learns too, on the digits: over the same student
# on its labels alone, from the same random weights and on the same batches.
# Run:    python tools/benchmark.py configs/benchmarks/peers_digits.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.
title = 'Detection: peers'
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
    'dml': dict(
        config='../dml/dml-logits_frcnn-w16_frcnn-w16_1k_digits-300.py',
        method='DML of RoIs',
    ),
    'bdkd': dict(
        config='../bdkd/bdkd-online_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='BD-KD of RoIs, online',
    ),
    'switokd': dict(
        config='../switokd/switokd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='SwitOKD of RoIs',
    ),
    'sokd': dict(
        config='../sokd/sokd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py',
        method='SOKD of RoIs',
    ),
}
