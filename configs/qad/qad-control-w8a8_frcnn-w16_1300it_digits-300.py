# The control of qad-w8a8: the same detector of 8 bits a weight, from the same float
# weights, on the same batches, by its labels alone. On digits in photographs.
# Jacob et al. 2018, arXiv:1712.05877
# Run:    python tools/train.py \
#     configs/qad/qad-control-w8a8_frcnn-w16_1300it_digits-300.py
# Cost and result: not run yet. 1,000 and 300 iterations.
_base_ = ['./qad-w8a8_frcnn-w16_1300it_digits-300.py']
model = dict(
    teacher=None, pairs=dict(logits=None, objectness=None, neck=None))
