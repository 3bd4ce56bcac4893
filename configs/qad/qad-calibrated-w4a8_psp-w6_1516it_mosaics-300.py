# Quantised after training: a segmentor of 4 bits a weight; of 16 batches the ranges,
# at a rate of zero: nothing but the ranges learns. On mosaics of photographs.
# Jacob et al. 2018, arXiv:1712.05877
# Run:    python tools/train.py \
#     configs/qad/qad-calibrated-w4a8_psp-w6_1516it_mosaics-300.py
# Cost and result: not run yet. 1,500 and 16 iterations.
_base_ = ['./qad-control-w4a8_psp-w6_2k_mosaics-300.py']
model = dict(student=dict(activations=dict(type='ObservedActivations', momentum=0.1)))
optim_wrapper = dict(optimizer=dict(lr=0.0))
param_scheduler = []
train_cfg = dict(max_iters=16, val_interval=16)
