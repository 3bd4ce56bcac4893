# Masked distillation, first stage: which places of its class maps does a teacher need?
# On mosaics of photographs.  Huang et al., ICLR 2023, arXiv:2205.14589
# Run:    python tools/train.py configs/maskd/maskd-tokens_psp-w24_500it_mosaics.py
# Cost and result: 6 minutes on one of two busy cores; 56.2 mIoU of the masked teacher,
# which has 56.2 without masks (400 validation images); any two masks of the last 50
# iterations share 0.03 to 0.04 of their places (Dice).
_base_ = ['../mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py']

model = dict(
    _delete_=True,
    type='kd_plugins.MaskLearner',
    teacher=dict(
        cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
        checkpoint='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'),
    # As many as the authors take for segmentation, where all count the same.
    masks=dict(
        logits=dict(layer='decode_head.conv_seg', tokens=8, weighted=False),
        auxiliary=dict(layer='auxiliary_head.conv_seg', tokens=8, weighted=False)))
# Eight vectors learn faster than a network.
optim_wrapper = dict(optimizer=dict(lr=1e-2))
train_cfg = dict(max_iters=500, val_interval=500)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=500, by_epoch=False),
]
