# The price of a step where the teacher is large: PSPNet R101 teaches R18 by CWD, Faster
# R-CNN R101 teaches R50 by hint, RPN and RoI. Models of the zoo with random weights, on
# the embedded data at 128 and 256 pixels, two images a step: nothing is downloaded, and
# nothing trained. Ratio: the distilling step over the student's own and the plain
# teacher's forward.
# Run:    python tools/benchmark.py configs/benchmarks/cost_fast_teacher.py --cost
# Cost and result: 8 minutes on one core; not measured on other machines.
metric = 'mIoU'
seeds = [0]
data_root = '{{$KD_PLUGINS_DATA:data}}/'  # deleted below: no key of a protocol


def _common(dataset):
    return {
        'model.teacher.checkpoint': None,
        'model.teacher.allow_random': True,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'custom_hooks': [
            dict(
                type='kd_plugins.PrepareDataHook',
                dataset=dataset,
                root=data_root + dataset)
        ],
    }


def _segmentation(side):
    return {
        **_common('mosaics'),
        'model.student.pretrained': None,
        'model.student.data_preprocessor.size': (side, side),
        # Of one process.
        'model.student.backbone.norm_cfg.type': 'BN',
        'model.student.decode_head.norm_cfg.type': 'BN',
        'model.student.auxiliary_head.norm_cfg.type': 'BN',
        'train_dataloader.dataset': dict(
            _delete_=True,
            type='BaseSegDataset',
            data_root=data_root + 'mosaics',
            ann_file='splits/train.txt',
            img_suffix='.jpg',
            seg_map_suffix='.png',
            data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='Resize', scale=(side, side)),
                dict(type='PackSegInputs'),
            ]),
    }


def _detection(side):
    return {
        **_common('digits'),
        'model.student.backbone.init_cfg': None,
        # As of the embedded benchmark: 512 are for images of sixteen times the area.
        'model.student.train_cfg.rcnn.sampler.num': 64,
        # So that all of the denominator is student and teacher.
        'model.pairs.hint.adapter': None,
        'train_dataloader.dataset': dict(
            _delete_=True,
            type='CocoDataset',
            data_root=data_root + 'digits',
            metainfo=dict(classes=tuple('0123456789')),
            ann_file='annotations/train.json',
            data_prefix=dict(img='train/'),
            filter_cfg=dict(filter_empty_gt=True),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=(side, side), keep_ratio=True),
                dict(type='PackDetInputs'),
            ]),
    }


baseline = 'psp-128'
recipes = {
    f'psp-{side}': dict(
        config='../cwd/cwd-logits_psp-r101_psp-r18_40k_cityscapes-512x512.py',
        options=_segmentation(side))
    for side in (128, 256)
}
recipes['frcnn-256'] = dict(
    config='../chen2017/chen2017-full_frcnn-r101_frcnn-r50_1x_coco.py',
    options=_detection(256))
cost = {'psp-128': 0.65, 'psp-256': 0.65, 'frcnn-256': 0.80}
del data_root
