# Quantised after training: a detector of 4 bits a weight, by the ranges of 16 batches,
# at a rate of zero: nothing but the ranges learns. On digits in photographs.
# Jacob et al. 2018, arXiv:1712.05877
# Run:    python tools/train.py \
#     configs/qad/qad-calibrated-w4a8_frcnn-w16_1016it_digits-300.py
# Cost and result: not run yet. 1,000 and 16 iterations.
_base_ = ['./qad-control-w4a8_frcnn-w16_1300it_digits-300.py']
model = dict(student=dict(activations=dict(type='ObservedActivations', momentum=0.1)))
optim_wrapper = dict(optimizer=dict(lr=0.0))
param_scheduler = []
train_cfg = dict(max_iters=16, val_interval=16)
