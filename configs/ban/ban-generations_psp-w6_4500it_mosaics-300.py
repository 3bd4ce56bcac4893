# Born again, three generations of one segmentor: the first learns from its labels, each
# other one from the one before too. On mosaics of photographs.
# Furlanello et al., ICML 2018, arXiv:1805.04770
# Run:    python tools/train.py \
#     configs/ban/ban-generations_psp-w6_4500it_mosaics-300.py
# Cost and result: not run yet. 1,500 iterations each. The ensemble of the three is
# scored as README.md says.
# The student alone:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w6_1500it_mosaics-300.py']
alone = 'kd_plugins::mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py'

# The last generation, from random weights as every one. Labels and soft labels count
# alike, at temperature 1: the paper's BAN+L.
model = dict(
    teacher=dict(_delete_=True, cfg=alone, checkpoint='{second.student}'),
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='KDLoss', temperature=1.0, loss_weight=1.0))))

stages = dict(
    # Each begins with other weights and batches, the last with those of the page.
    first=dict(cfg=alone, options={'randomness.seed': 1000}),
    second=dict(
        options={
            'model.teacher.checkpoint': '{first.student}',
            'randomness.seed': 2000
        }),
    third=dict())
