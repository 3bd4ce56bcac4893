# Does a teacher that was trained with label smoothing teach worse? (Mueller et al.,
# NeurIPS 2019, arXiv:1906.02629). The same student under teachers of more and less
# smoothing, at a low and a high temperature, beside one that is smoothed itself. On the
# mosaics; KD of pixels.
# Run:    python tools/benchmark.py configs/benchmarks/study_smoothing_mosaics.py
# Cost and result: not run yet.  Needs: the teachers. For each SMOOTHING 0.05, 0.1, 0.2:
#         python tools/train.py \
#             configs/labelsmoothing/labelsmoothing-logits_psp-w24_4k_mosaics.py \
#             --work-dir work_dirs/teachers/smoothing-SMOOTHING \
#             --cfg-options model.pairs.logits.loss.smoothing=SMOOTHING
# Their own scores stand in their logs; calibration is in the table of fidelity.
title = 'Segmentation: label-smoothed teachers'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)
# Labels count fully, and soft labels beside them.
kd = '../eskd/eskd-gate_psp-w24_psp-w6_1500it_mosaics-300.py'
weight, key = 'model.pairs.logits.loss.loss_weight', 'model.teacher.checkpoint'
# KD to the end, at a temperature; an override of a whole schedule by a number.
settings = {
    temperature: {
        weight: 1.0,
        'model.pairs.logits.loss.temperature': float(temperature),
    }
    for temperature in (1, 4)
}

baseline = 'alone'
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
    ),
    'smoothed': dict(
        config='../labelsmoothing/'
        'labelsmoothing-logits_psp-w6_1500it_mosaics-300.py',
        method='the student alone, its labels smoothed by 0.1',
    ),
}
recipes |= {
    f'plain-{temperature}': dict(
        config=kd,
        options=settings[temperature],
        method=f'a plain teacher, temperature {temperature}',
    )
    for temperature in (1, 4)
}
recipes |= {
    f'smoothed-{smoothing}-{temperature}': dict(
        config=kd,
        options={
            **settings[temperature],
            key: f'work_dirs/teachers/smoothing-{smoothing}/student_iter_4000.pth',
        },
        method=f'a teacher smoothed by {smoothing}, temperature {temperature}',
        seeds=None if smoothing == 0.1 else [0],
    )
    for smoothing in (0.05, 0.1, 0.2)
    for temperature in (1, 4)
}
# Does smoothing spoil the teacher? The first is expected above the second.
comparisons = [
    ('plain-1', 'smoothed-0.1-1'),
    ('plain-4', 'smoothed-0.1-4'),
    ('smoothed', 'smoothed-0.1-4'),
]
del kd, weight, key, settings
