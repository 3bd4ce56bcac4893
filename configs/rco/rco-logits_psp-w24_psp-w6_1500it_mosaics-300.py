# Route constrained optimization: four checkpoints of the teacher's own training, one
# after the other, on mosaics of photographs.
# Jin et al., ICCV 2019, arXiv:1904.09149; equal intervals, the weight is ours.
# Run:    python tools/train.py \
#     configs/rco/rco-logits_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.  Needs: the teacher's route. Train it first, and keep
# every checkpoint:
#         python tools/train.py \
#             configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py \
#             --work-dir work_dirs/pspnet-w24-route \
#             --cfg-options default_hooks.checkpoint.max_keep_ckpts=-1
# Greedy: python tools/next_anchor.py, in the place of equal intervals.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    teacher=dict(
        _delete_=True,
        type='kd_plugins.Route',
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoints=[
            'work_dirs/pspnet-w24-route/iter_1000.pth',
            'work_dirs/pspnet-w24-route/iter_2000.pth',
            'work_dirs/pspnet-w24-route/iter_3000.pth',
            'work_dirs/pspnet-w24-route/iter_4000.pth'],
        interval=375),  # a quarter of the student's iterations for each
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0))))
