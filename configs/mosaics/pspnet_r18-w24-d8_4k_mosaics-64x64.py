# The teacher of the embedded segmentation benchmark, trained on images of half the
# side: what it would teach if it saw no more than the student.
# Run:    python tools/train.py \
#     configs/mosaics/pspnet_r18-w24-d8_4k_mosaics-64x64.py
# Cost and result: not run yet.
_base_ = [
    './pspnet_r18-w24-d8_4k_mosaics-128x128.py', '../_base_/datasets/mosaics_64.py'
]
model = dict(data_preprocessor=dict(size=(64, 64)))
train_pipeline, test_pipeline = _base_.pop('mosaics_64')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
