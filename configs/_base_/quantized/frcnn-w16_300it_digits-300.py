# On digits in photographs, the embedded Faster R-CNN of width 16, quantised: it starts
# from the float weights of a stage before, and learns for 300 iterations at a tenth of
# their rate. What makes it smaller there inherits it, and says how.
_base_ = ['../distill/frcnn-w16_1k_digits-300.py']
alone = 'kd_plugins::digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py'

load_from = '{float.student}'
model = dict(
    student=dict(
        _delete_=True, type='kd_plugins.Quantized', model=dict(cfg=alone)))
optim_wrapper = dict(optimizer=dict(lr=2e-4))
train_cfg = dict(max_iters=300, val_interval=300)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=25),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        by_epoch=False,
        begin=25,
        end=300,
        T_max=275),
]
stages = dict(float=dict(cfg=alone), quantized=dict())
