# On mosaics of photographs, the embedded PSPNet of width 6, quantised: it starts from
# the float weights of a stage before, and learns for 500 iterations at a tenth of their
# rate. What makes it smaller there inherits it, and says how.
_base_ = ['../distill/psp-w6_1500it_mosaics-300.py']
alone = 'kd_plugins::mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'

load_from = '{float.student}'
model = dict(
    student=dict(
        _delete_=True, type='kd_plugins.Quantized', model=dict(cfg=alone)))
optim_wrapper = dict(optimizer=dict(lr=1.6e-3))
train_cfg = dict(max_iters=500, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=25),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=25,
        end=500,
        T_max=475),
]
stages = dict(float=dict(cfg=alone), quantized=dict())
