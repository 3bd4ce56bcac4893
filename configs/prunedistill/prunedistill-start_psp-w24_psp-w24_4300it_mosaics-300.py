# The control of prune, then distill: the same student, from random weights, learns from
# its labels alone. On mosaics of photographs.
# Park and No 2022, arXiv:2109.14960; the paper classifies images.
# Run:    python tools/train.py \
#     configs/prunedistill/prunedistill-start_psp-w24_psp-w24_4300it_mosaics-300.py
# Cost and result: not run yet. 1,400 iterations a round, 1,500 of the student. Needs:
# the extra 'prune'.
_base_ = ['./prunedistill-logits_psp-w24_psp-w24_4300it_mosaics-300.py']
model = dict(pairs=dict(logits=None))

stages = dict(student=dict())
