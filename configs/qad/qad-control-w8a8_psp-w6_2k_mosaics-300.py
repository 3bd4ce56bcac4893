# The control of qad-w8a8: the same segmentor of 8 bits a weight, from the same float
# weights, on the same batches, by its labels alone. On mosaics of photographs.
# Jacob et al. 2018, arXiv:1712.05877
# Run:    python tools/train.py \
#     configs/qad/qad-control-w8a8_psp-w6_2k_mosaics-300.py
# Cost and result: not run yet. 1,500 and 500 iterations.
_base_ = ['./qad-w8a8_psp-w6_2k_mosaics-300.py']
model = dict(teacher=None, pairs=dict(logits=None))
