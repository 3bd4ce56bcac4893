# Sequential teachers: the student learns from one of width 12 first, then from one of
# width 24, and is carried on. On mosaics of photographs.
# Cao et al., ICML 2023, arXiv:2308.09105; what is compared and how long are ours.
# Run:    python tools/train.py \
#     configs/mtpd/mtpd-w12_psp-w24_psp-w6_3k_mosaics-300.py
# Cost and result: not run yet. 1,500 iterations for the first teacher, and 750 from
# each. From the first alone:  python tools/train.py \
#     configs/takd/takd-w12_psp-w24_psp-w6_3k_mosaics-300.py
# From the second alone:  python tools/train.py \
#     configs/skd/skd-pixel_psp-w24_psp-w6_1500it_mosaics-300.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']

smaller = dict(
    backbone=dict(base_channels=12, stem_channels=12),
    decode_head=dict(in_channels=96, channels=48),
    auxiliary_head=dict(in_channels=48, channels=12))

# The student under the second teacher, which is the last stage.
model = dict(
    pairs=dict(
        # As from either of them alone.
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
train_cfg = dict(max_iters=750, val_interval=750)
# Each teacher has the whole schedule.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=100,
        end=750,
        T_max=650),
]

stages = dict(
    # The first teacher is taught by the second, as an assistant.
    smaller=dict(
        options={
            'model.student': smaller,
            'train_cfg': dict(max_iters=1500, val_interval=1500),
            'param_scheduler.1.end': 1500,
            'param_scheduler.1.T_max': 1400
        }),
    first=dict(
        options={
            'model.teacher': dict(**smaller, checkpoint='{smaller.student}')
        }),
    second=dict(options=dict(load_from='{first.student}')))
