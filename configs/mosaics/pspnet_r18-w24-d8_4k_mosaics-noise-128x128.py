# The teacher of the embedded segmentation benchmark, trained on noisy images: what it
# would teach if it saw no more than the student.
# Run:    python tools/train.py \
#     configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-noise-128x128.py
# Cost and result: not run yet.
_base_ = [
    './pspnet_r18-w24-d8_4k_mosaics-128x128.py', '../_base_/datasets/mosaics_noise.py'
]
train_pipeline, test_pipeline = _base_.pop('mosaics_noise')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
