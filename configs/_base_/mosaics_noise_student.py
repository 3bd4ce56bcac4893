# The student of the embedded segmentation benchmark, on noisy images.
_base_ = ['./mosaics_student.py', './datasets/mosaics_noise.py']
train_pipeline, test_pipeline = _base_.pop('mosaics_noise')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
