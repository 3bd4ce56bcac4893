# CA-MKD: three teachers, of each pixel the one that knows its label most, on mosaics of
# photographs.
# Zhang et al., ICASSP 2022, arXiv:2201.00007; its weights are those for CIFAR-100.
# Run:    python tools/train.py \
#     configs/camkd/camkd-logits-features_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.  Needs: two more teachers, of other seeds than the one
# whose weights are here. Train each first, SEED=1 and SEED=2, to iter_4000.pth:
#         python tools/train.py \
#             configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py \
#             --work-dir work_dirs/pspnet-w24-seed-SEED \
#             --cfg-options randomness.seed=SEED
# Alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(
    teacher=dict(
        _delete_=True,
        type='kd_plugins.Ensemble',
        members=[
            dict(
                cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
                checkpoint=(
                    'kd_plugins::mosaics/'
                    'pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors')),
            dict(
                cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
                checkpoint='work_dirs/pspnet-w24-seed-1/iter_4000.pth'),
            dict(
                cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
                checkpoint='work_dirs/pspnet-w24-seed-2/iter_4000.pth')],
        combine=dict(type='ConfidenceWeights')),
    pairs=dict(
        # Which class has this pixel? Each teacher counts by its own cross-entropy.
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=4.0, loss_weight=1.0)),  # alpha
        # And by that of its classifier on the student's feature, behind an adapter.
        features=dict(
            view='seg.features',
            adapter=dict(type='ConvAdapter', norm=True, relu=True),
            loss=dict(type='HintLoss', loss_weight=50.0))))  # beta
