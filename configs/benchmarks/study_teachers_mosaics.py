# Does a better teacher teach better? The same student under teachers of shorter
# complete schedules (ESKD), and under those of a grid of batch size and epochs, one of
# which is the sweet spot (Vats and Crandall, arXiv:2112.10047). On the mosaics; KD of
# pixels that stops at 60 % in all rows but one.
# Run:    python tools/benchmark.py configs/benchmarks/study_teachers_mosaics.py
# Cost and result: not run yet.  Needs: the teachers. For each SHARE of the schedule:
#         python tools/train.py \
#             configs/mosaics/pspnet_r18-w24-d8_1400it_mosaics-128x128.py \
#             --work-dir work_dirs/teachers/SHARE --cfg-options \
#             train_cfg.max_iters=N param_scheduler.1.end=N param_scheduler.1.T_max=N-70
# where SHARE is 50, 35 or 20, and N 2000, 1400 or 800. For each BATCH 4, 8 or 16, the
# rate as large as the batch, checkpoints at a quarter, a half and the end:
#         python tools/train.py \
#             configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py \
#             --work-dir work_dirs/teachers/batch-BATCH --cfg-options \
#             train_dataloader.batch_size=BATCH \
#             optim_wrapper.optimizer.lr=BATCH/8000 train_cfg.max_iters=N \
#             param_scheduler.1.end=N param_scheduler.1.T_max=N-200 \
#             default_hooks.checkpoint.interval=N/4 \
#             default_hooks.checkpoint.max_keep_ckpts=-1
# where N is 8000, 4000 or 2000: as many epochs. Their own scores stand in their logs.
title = 'Segmentation: which teacher'
metric = 'mIoU'
unit = 'mIoU'
details = ['mAcc', 'aAcc']
seeds = [0, 1, 2]
fidelity = dict()
teacher = dict(
    config='../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
    checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors',
)
gate = '../eskd/eskd-gate_psp-w24_psp-w6_1500it_mosaics-300.py'
key = 'model.teacher.checkpoint'

baseline = 'alone'
recipes = {
    'alone': dict(
        config='../mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py',
        method='the student alone',
    ),
    'to-the-end': dict(
        config=gate,
        options={'model.pairs.logits.loss.loss_weight': 1.0},
        method='a teacher of the whole schedule, to the end',
    ),
    'share-100': dict(config=gate, method='a teacher of the whole schedule'),
}
recipes |= {
    f'share-{share}': dict(
        config=gate,
        options={key: f'work_dirs/teachers/{share}/iter_{40 * share}.pth'},
        method=f'of {share} % of it, whole',
    )
    for share in (50, 35, 20)
}
recipes |= {
    f'batch-{batch}-{quarters}': dict(
        config=gate,
        options={
            key: f'work_dirs/teachers/batch-{batch}/'
            f'iter_{8000 * quarters // batch}.pth'
        },
        method=f'of batch {batch}, after {quarters} of 4 quarters',
        seeds=[0],
    )
    for batch in (4, 8, 16)
    for quarters in (1, 2, 4)
}
# Does a better teacher teach better? The first is expected above the second.
comparisons = [
    ('share-100', 'to-the-end'),
    ('share-50', 'share-100'),
    ('share-35', 'share-100'),
    ('share-20', 'share-100'),
]
del gate, key
