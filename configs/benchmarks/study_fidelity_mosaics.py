# Does the student match its teacher, and does it help? (Stanton et al., NeurIPS 2021,
# arXiv:2106.05945). No label counts; the student has more images, mixed images, more
# iterations, or the teacher's own width. On the mosaics, agreement on images that
# neither has learned from; on the student's own, see docs/studies/fidelity.md.
# Run:    python tools/benchmark.py configs/benchmarks/study_fidelity_mosaics.py
# Cost and result: not run yet.
title = 'Segmentation: fidelity and generalisation'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)
posteriors = '../kd/kd-posteriors_psp-w24_psp-w6_1500it_mosaics-300.py'
mixed = '../kd/kd-posteriors-mixed_psp-w24_psp-w6_1500it_mosaics-300.py'
# The images that the teacher learned from, without their labels.
every_image = {'train_dataloader.dataset.ann_file': 'splits/train.txt'}
longer = {
    'train_cfg.max_iters': 6000,
    'train_cfg.val_interval': 6000,
    'param_scheduler.1.end': 6000,
    'param_scheduler.1.T_max': 5900,
}
# As wide as the teacher, at the teacher's rate.
wide = {
    'model.student.backbone.base_channels': 24,
    'model.student.backbone.stem_channels': 24,
    'model.student.decode_head.in_channels': 192,
    'model.student.decode_head.channels': 96,
    'model.student.auxiliary_head.in_channels': 96,
    'model.student.auxiliary_head.channels': 24,
    'optim_wrapper.optimizer.lr': 1e-3,
}

baseline = 'alone'
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
    ),
    'pixel': dict(
        config='../skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py',
        method='labels and soft labels',
    ),
    '300': dict(config=posteriors, method='posteriors of 300 images'),
    '300-mixed': dict(config=mixed, method='of 300 images, mixed'),
    '3000': dict(
        config=posteriors, options=every_image, method='of 3,000 images'
    ),
    '3000-mixed': dict(
        config=mixed, options=every_image, method='of 3,000 images, mixed'
    ),
    '300-longer': dict(
        config=posteriors, options=longer, method='of 300 images, four times as long'
    ),
    '3000-longer': dict(
        config=posteriors,
        options={**every_image, **longer},
        method='of 3,000 images, four times as long',
    ),
    '3000-mixed-longer': dict(
        config=mixed,
        options={**every_image, **longer},
        method='of 3,000 images, mixed, four times as long',
    ),
    'wide-3000-longer': dict(
        config=posteriors,
        options={**every_image, **longer, **wide},
        own_start=True,
        method='the same, by a student of the width of its teacher',
        seeds=[0],
    ),
}
# More data to distil on, more fidelity, a better student?
comparisons = [
    ('3000', '300'),
    ('300-mixed', '300'),
    ('3000-mixed', '3000'),
    ('300-longer', '300'),
]
del posteriors, mixed, every_image, longer, wide
