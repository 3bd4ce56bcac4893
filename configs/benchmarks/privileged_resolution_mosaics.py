# What a teacher of twice the resolution teaches, on the mosaics: over the student
# alone on 64 pixels a side too, from the same random weights and on the same
# batches; and over the same loss under a teacher that sees no more than the student:
# one that learned from such images, and the same teacher, which did not.
# Run:    python tools/benchmark.py \
#     configs/benchmarks/privileged_resolution_mosaics.py
# As long: the same, with --equal-time.
# Cost and result: not run yet.  Needs: the teacher of
# kd-logits_psp-w24_psp-w6_1500it_mosaics-300-64x64.py, trained as its header says.
title = 'Segmentation: a teacher of twice the resolution'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
seeds = [0, 1, 2]
# The upper end: on what the student does not see.
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)

baseline = 'alone'
equal_time = ['kd', 'alone']
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-64x64.py',
        method='the student alone, 64 pixels a side',
    ),
    'kd': dict(
        config='../kd/kd-logits_psp-w24_psp-w6_1500it_mosaics-300-64x64.py',
        method='KD of pixels, by a teacher of such images',
    ),
    'kd-same-teacher': dict(
        config='../kd/kd-logits_psp-w24_psp-w6_1500it_mosaics-300-64x64.py',
        options={'model.teacher.checkpoint': teacher['checkpoint']},
        method='KD of pixels, the privileged teacher on such images',
    ),
    'privileged': dict(
        config='../gd/gd-resolution_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='Generalized distillation',
        note='The student sees 64 pixels a side, the teacher 128.',
    ),
}
# Is it what the teacher sees? The first is expected above the second.
comparisons = [('privileged', 'kd'), ('privileged', 'kd-same-teacher')]
cost = {name: None for name in recipes if name != 'alone'}
