# Pseudo-labels: a teacher labels the pixels of the 2,700 images whose labels the
# student does not get, where it is sure, on mosaics of photographs; of its logits
# nothing is distilled.
# Bucila et al., KDD 2006, https://doi.org/10.1145/1150402.1150464; maps and threshold
# are ours.
# Run:    python tools/train.py \
#     configs/pseudolabel/pseudolabel-maps_psp-w24_psp-w6_1500it_mosaics-300.py
# Cost and result: not run yet.
# Without the pseudo-labels:  python tools/train.py \
#     configs/mosaics/pspnet_r18-w6-d8_1500it_mosaics-300-128x128.py
_base_ = ['../_base_/distill/psp-w24_psp-w6_1500it_mosaics-300.py']
model = dict(pairs=dict())

data_root = '{{$KD_PLUGINS_DATA:data}}/mosaics/'
pseudo_root = '{{$KD_PLUGINS_DATA:data}}/pseudo/mosaics_w24/'
pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', backend_args=None),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='kd_plugins.PackPseudoLabels', pack=dict(type='PackSegInputs')),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            {{_base_.train_dataloader.dataset}},
            dict(
                type='BaseSegDataset',
                metainfo={{_base_.metainfo}},
                ann_file=pseudo_root + 'images.txt',
                img_suffix='.jpg',
                seg_map_suffix='.png',
                data_prefix=dict(
                    img_path=data_root + 'images/train',
                    seg_map_path=pseudo_root + 'labels'),
                pipeline=pipeline,
                backend_args=None),
        ]))
custom_hooks = [
    dict(type='kd_plugins.PrepareDataHook', dataset='mosaics', root=data_root),
    dict(
        type='kd_plugins.PseudoLabelsHook',
        images=data_root + 'images/train',
        without=data_root + 'splits/train_300.txt',
        out=pseudo_root,
        teachers=dict(
            cfg='kd_plugins::mosaics/pspnet_r18-w24-d8_4k_mosaics-128x128.py',
            checkpoint='kd_plugins::mosaics/'
            'pspnet_r18-w24-d8_4k_mosaics-128x128.safetensors'),
        # It sees each image flipped, too; 255 where no class has half.
        augment=True,
        threshold=0.5),
]
