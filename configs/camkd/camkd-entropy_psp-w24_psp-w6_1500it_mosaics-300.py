# EBKD: three teachers, of each pixel the one that is surest, on mosaics of photographs.
# A baseline of Zhang et al., ICASSP 2022, arXiv:2201.00007
# Run:    python tools/train.py \
#     configs/camkd/camkd-entropy_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.  Needs: two more teachers, as for
# camkd-logits-features_psp-w24_psp-w6_1500it_mosaics-300.py, which says how.
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['./camkd-logits-features_psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    teacher=dict(combine=dict(type='EntropyWeights')), pairs=dict(features=None))
