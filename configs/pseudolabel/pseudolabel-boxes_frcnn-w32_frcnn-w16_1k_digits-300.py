# Pseudo-labels: a teacher draws the boxes of the 3,700 images whose labels the student
# does not get, on digits in photographs; of the logits nothing is distilled.
# Bucila et al., KDD 2006, https://doi.org/10.1145/1150402.1150464; boxes, threshold and
# weights are ours.
# Run:    python tools/train.py \
#     configs/pseudolabel/pseudolabel-boxes_frcnn-w32_frcnn-w16_1k_digits-300.py
# Cost and result: not run yet.
# Without the pseudo-labels, the same start:  python tools/train.py \
#     configs/chen2017/chen2017-start_frcnn-w32_frcnn-w16_1k_digits-300.py
_base_ = ['../_base_/distill/frcnn-w32_frcnn-w16_1k_digits-300.py']
# The teacher's neck and heads to start from, as all that is compared on the digits has
# them, and no more of it.
model = dict(pairs=dict())

data_root = '{{$KD_PLUGINS_DATA:data}}/digits/'
pseudo_root = '{{$KD_PLUGINS_DATA:data}}/pseudo/digits_w32/'
pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.6, 1.4),
        saturation_range=(0.6, 1.4),
        hue_delta=18),
    # Each box counts by the teacher's score.
    dict(
        type='kd_plugins.PackPseudoLabels',
        scores=pseudo_root + 'boxes.json',
        pack=dict(type='PackDetInputs')),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type='CocoDataset',
                metainfo={{_base_.metainfo}},
                ann_file=pseudo_root + 'boxes.json',
                data_prefix=dict(img=data_root + 'train/'),
                filter_cfg=dict(filter_empty_gt=True, min_size=8),
                pipeline=pipeline,
                backend_args=None),
        ]))
custom_hooks = [
    dict(type='kd_plugins.PrepareDataHook', dataset='digits', root=data_root),
    dict(
        type='kd_plugins.PseudoLabelsHook',
        images=data_root + 'train',
        without=data_root + 'annotations/train_300.json',
        out=pseudo_root,
        teachers=dict(
            cfg='kd_plugins::digits/faster-rcnn_r18-w32_fpn_4k_digits.py',
            checkpoint='kd_plugins::digits/'
            'faster-rcnn_r18-w32_fpn_4k_digits.safetensors'),
        threshold=0.5),
    dict(type='kd_plugins.BoxWeightsHook'),
]
