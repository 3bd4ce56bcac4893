# The student of the embedded segmentation benchmark, on images of half the side.
_base_ = ['./mosaics_student.py', './datasets/mosaics_64.py']
model = dict(data_preprocessor=dict(size=(64, 64)))
train_pipeline, test_pipeline = _base_.pop('mosaics_64')
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
