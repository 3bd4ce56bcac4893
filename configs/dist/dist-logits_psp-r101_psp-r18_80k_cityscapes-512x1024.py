# Correlations of classes: PSPNet R101 teaches R18, Cityscapes, 80k.
# Huang et al., NeurIPS 2022, arXiv:2205.10536
# Run:    python tools/train.py \
#     configs/dist/dist-logits_psp-r101_psp-r18_80k_cityscapes-512x1024.py
# Cost and result: not run yet.  Needs: Cityscapes in data/cityscapes/.
_base_ = ['../_base_/distill/psp-r101_psp-r18_80k_cityscapes-512x1024.py']
model = dict(
    pairs=dict(
        logits=dict(
            view='seg.logits',
            loss=dict(type='DISTLoss', beta=1.0, gamma=1.0, loss_weight=1.0))))
