from typing import Any

import pytest
from mmengine.config import Config, DictAction

from kd_plugins.engine.overrides import apply_overrides, check_overrides
from kd_plugins.errors import ConfigError

CONFIG: dict[str, Any] = dict(
    default_scope='mmdet',
    runner_type='kd_plugins.DistillRunner',
    env_cfg=dict(dist_cfg=dict(backend='gloo')),
    model=dict(
        type='kd_plugins.Distiller',
        student=dict(
            type='FasterRCNN',
            backbone=dict(type='ResNet', depth=18, norm_cfg=dict(type='BN')),
            rpn_head=dict(type='RPNHead', in_channels=64),
            roi_head=dict(
                type='StandardRoIHead',
                bbox_roi_extractor=dict(
                    type='SingleRoIExtractor',
                    roi_layer=dict(type='RoIAlign', output_size=7),
                ),
                bbox_head=dict(type='Shared2FCBBoxHead', num_classes=10),
            ),
            train_cfg=dict(rcnn=dict(assigner=dict(type='MaxIoUAssigner'))),
            test_cfg=dict(rcnn=dict(score_thr=0.05, nms=dict(type='nms'))),
        ),
        teacher=dict(cfg='mmdet::x.py', checkpoint='x.pth'),
        task_loss_weights={'*loss_cls': 0.8},
        pairs=dict(
            hint=dict(layer='neck', loss=dict(type='HintLoss', loss_weight=0.5)),
            cls=dict(
                view=dict(type='roi.logits'),
                loss=dict(
                    type='KDLoss', loss_weight=dict(type='LinearRamp', start=0, end=1)
                ),
            ),
        ),
    ),
    train_dataloader=dict(
        batch_size=8,
        dataset=dict(type='CocoDataset', pipeline=[dict(type='PackDetInputs')]),
    ),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3), clip_grad=None),
    param_scheduler=[dict(type='LinearLR'), dict(type='MultiStepLR')],
    default_hooks=dict(checkpoint=dict(type='CheckpointHook')),
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=10),
    custom_hooks=[],
    my_own_variable=3,
)


def check(**options: Any) -> None:
    keys = {key.replace('__', '.'): value for key, value in options.items()}
    check_overrides(Config(CONFIG), keys)


@pytest.mark.parametrize(
    'key',
    [
        'my_own_variable',
        'load_from',  # of the runner
        'work_dir',
        'auto_scale_lr.enable',
        'randomness.seed',
        'env_cfg.mp_cfg.anything',
        'model.pairs.hint.loss.loss_weight',
        'model.pairs.hint.loss.norm',  # an argument that the config leaves out
        'model.pairs.hint.adapter.type',
        'model.pairs.hint.per_level',
        'model.pairs.hint.levels_reduction',
        'model.pairs.cls.view.stage',
        'model.pairs.cls.loss.loss_weight.until',
        'model.task_loss_weights.loss_rpn_cls',
        'model.init_from_teacher',
        'model.teacher.allow_random',
        'model.student.backbone.with_cp',
        'model.student.backbone.norm_cfg.requires_grad',
        'model.student.roi_head.bbox_head.num_classes',
        'model.student.roi_head.bbox_head.reg_class_agnostic',  # through **kwargs
        'model.student.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio',
        'model.student.test_cfg.rcnn.nms.iou_threshold',
        'model.student.test_cfg.rcnn.max_per_img',
        'model.student.train_cfg.rcnn.assigner.pos_iou_thr',
        'train_dataloader.num_workers',
        'train_dataloader.dataset.indices',  # of BaseDataset, two classes up
        'train_dataloader.dataset.pipeline.0.meta_keys',
        'train_dataloader.dataset.data_prefix.img',
        'optim_wrapper.optimizer.weight_decay',
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.adapter_cfg.lr_mult',
        'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult',
        'param_scheduler.1.gamma',
        'param_scheduler.0.convert_to_iter_based',
        'default_hooks.checkpoint.max_keep_ckpts',
        'default_hooks.checkpoint.priority',
        'train_cfg.val_interval',
    ],
)
def test_a_key_that_names_something_is_legal(key: str) -> None:
    check_overrides(Config(CONFIG), {key: 1})


KINDS = dict(
    model=dict(
        type='kd_plugins.Distiller',
        teacher=dict(
            many=dict(
                type='kd_plugins.Ensemble',
                members=[
                    dict(cfg='kd_plugins::digits/gfl_r18-w32_fpn_3k_digits.py'),
                    dict(model=dict(type='GFL'), checkpoint='a.pth'),
                ],
                combine=dict(type='MeanProbs'),
            ),
            road=dict(type='Route', model=dict(type='GFL'), checkpoints={0: 'a.pth'}),
            rich=dict(type='Privileged', model=dict(type='GFL')),
        ),
        pairs=dict(kd=dict(view='head.logits', teacher='many')),
    )
)


@pytest.mark.parametrize(
    'key',
    [
        'many.members.0.checkpoint',
        'many.members.0.bbox_head.num_classes',  # of the file's model
        'many.members.1.fast.dtype',
        'many.members.1.cache.folder',
        'many.combine.temperature',
        'road.checkpoints.500',
        'road.interval',
        'road.by_epoch',
        'rich.input',
        'rich.input_scale',
    ],
)
def test_keys_of_kinds_of_teachers_are_legal(key: str) -> None:
    check_overrides(Config(KINDS), {f'model.teacher.{key}': 1})
    check_overrides(Config(KINDS), {'model.pairs.kd.combine.type': 'MeanLosses'})


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('many.member', r"has no 'member'. Close: 'members'"),
        ('many.members.2.checkpoint', 'is a list: expected an index from 0 to 1'),
        ('many.members.1.checkpont', "has no 'checkpont'. Close: 'checkpoint'"),
        ('many.combine.temprature', "has no 'temprature'. Close: 'temperature'"),
        ('road.checkpoint', "has no 'checkpoint'. Close: 'checkpoints'"),
        ('rich.inputs', "has no 'inputs'. Close: 'input'"),
    ],
)
def test_keys_that_a_kind_of_teacher_has_not(key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_overrides(Config(KINDS), {f'model.teacher.{key}': 1})


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        (
            'model.pairs.hnt.loss.loss_weight',
            r"model.pairs has no 'hnt'. Close: 'hint'. A new one is given whole",
        ),
        ('model.pairs.hnt', r"model.pairs has no 'hnt'. Close: 'hint'"),
        (
            'model.pairs.hint.loss.weight',
            r"model.pairs.hint.loss \(HintLoss\) has no 'weight'. Close: 'loss_weight'",
        ),
        ('model.pairs.hint.lvels', r"model.pairs.hint has no 'lvels'. Close: 'levels'"),
        (
            'model.pairs.cls.loss.loss_weight.unti',
            r"\(LinearRamp\) has no 'unti'. Close: 'until'",
        ),
        (
            'model.teacher.chekpoint',
            r"model.teacher has no 'chekpoint'. Close: 'checkpoint'",
        ),
        (
            'model.teacher.cfg.model',
            r"model.teacher.cfg is 'mmdet::x.py', which has no keys",
        ),
        (
            'model.backbone.depth',
            r"model \(kd_plugins.Distiller\) has no 'backbone'. "
            r"Close: 'student.backbone'",
        ),
        (
            'model.student.backbone.dpeth',
            r"model.student.backbone \(ResNet\) has no 'dpeth'. Close: 'depth'",
        ),
        (
            'model.student.roi_head.bbox_head.nclasses',
            r"Close: 'num_classes'",
        ),
        (
            'model.student.test_cfg.rcnn.score_the',
            r"test_cfg.rcnn has no 'score_the'. Close: 'score_thr'",
        ),
        (
            'optim_wrapper.optimizer.learning_rate',
            r"optim_wrapper.optimizer \(AdamW\) has no 'learning_rate'",
        ),
        (
            'optim_wrapper.clip_grad.max_norm',
            r'optim_wrapper.clip_grad is None, which has no keys. Give it whole',
        ),
        (
            'optim_wraper.optimizer.lr',
            r"the config has no 'optim_wraper'. Close: 'opti",
        ),
        ('train_dataloader.batchsize', r"Close: 'batch_size'"),
        ('randomness.sed', r"randomness has no 'sed'. Close: 'seed'"),
        (
            'param_scheduler.2.gamma',
            r'param_scheduler is a list: expected an index from 0 to 1',
        ),
        ('param_scheduler.gamma', r'expected an index from 0 to 1'),
        (
            'train_dataloader.dataset.pipeline.1.type',
            r'pipeline is a list of one entry: expected the index 0',
        ),
        ('custom_hooks.0.type', r'custom_hooks is an empty list'),
        ('default_hooks.checkpont.interval', r"Close: 'checkpoint'"),
        ('train_cfg.max_iter', r"Close: 'max_iters'"),
    ],
)
def test_a_key_that_names_nothing_is_an_error_with_the_nearest(
    key: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=f'^{key}: .*{message}'):
        check_overrides(Config(CONFIG), {key: 1})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^--cfg-options:\n  model.piars: .*'pairs'.*\n  lod_from: .*'load_from'",
    ):
        check_overrides(
            Config(CONFIG), {'model.piars': 1, 'work_dir': 'x', 'lod_from': 2}
        )


def test_a_new_pair_is_legal_when_given_whole() -> None:
    pair = dict(layer='backbone', loss=dict(type='HintLoss'))
    check_overrides(Config(CONFIG), {'model.pairs.early': pair})
    check_overrides(Config(CONFIG), {'model.pairs': dict(early=pair, hint=None)})


def test_a_dict_is_checked_as_far_as_it_is_merged() -> None:
    with pytest.raises(ConfigError, match=r'^model.pairs.hint.loss.wight: .*HintLoss'):
        check_overrides(Config(CONFIG), {'model.pairs.hint': {'loss.wight': 1}})
    replaced = {'_delete_': True, 'anything': 1}
    check_overrides(Config(CONFIG), {'model.pairs.hint': replaced})


def test_an_argument_of_a_type_that_the_options_give_is_legal() -> None:
    options = {
        'model.student.backbone.init_cfg.type': 'Pretrained',
        'model.student.backbone.init_cfg.checkpoint': 'x.pth',
        'optim_wrapper.optimizer.type': 'SGD',
        'optim_wrapper.optimizer.momentum': 0.9,
    }
    check_overrides(Config(CONFIG), options)
    del options['optim_wrapper.optimizer.type']
    with pytest.raises(ConfigError, match=r"optimizer \(AdamW\) has no 'momentum'"):
        check_overrides(Config(CONFIG), options)


def test_legal_options_are_merged_and_illegal_ones_change_nothing() -> None:
    cfg = Config(CONFIG)
    apply_overrides(cfg, None)
    apply_overrides(cfg, {'param_scheduler.1.gamma': 0.3, 'model.pairs.hint': None})
    assert cfg.param_scheduler[1] == dict(type='MultiStepLR', gamma=0.3)
    assert cfg.model.pairs.hint is None
    with pytest.raises(ConfigError, match='lod_from'):
        apply_overrides(cfg, {'load_from': 'x', 'lod_from': 'x'})
    assert 'load_from' not in cfg


def test_the_action_of_the_hosts_gives_what_is_checked() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    given = parser.parse_args(['--cfg-options', 'model.pairs.hint=None', 'work_dir=x'])
    check_overrides(Config(CONFIG), given.cfg_options)


@pytest.mark.host
@pytest.mark.parametrize('key', ['student', 'teacher', 'teacher.big'])
def test_keys_of_a_file_are_legal_beside_its_cfg(key: str) -> None:
    of_file = dict(cfg='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py')
    model = dict(type='kd_plugins.Distiller', student=of_file, pairs={})
    model['teacher'] = dict(big=of_file) if '.' in key else of_file
    cfg = Config(dict(model=model))
    check_overrides(cfg, {f'model.{key}.bbox_head.num_classes': 3})
    with pytest.raises(ConfigError, match=rf"{key}.*no 'bbox_hed'"):
        check_overrides(cfg, {f'model.{key}.bbox_hed.num_classes': 3})


def chosen(**options: Any) -> Config:
    cfg = Config(CONFIG)
    cfg.model.pairs = dict(type='auto')
    apply_overrides(cfg, {f'model.pairs.{key}': item for key, item in options.items()})
    return cfg


@pytest.mark.parametrize('key', ['features.layer', 'logits.loss.loss_weight.share'])
def test_pairs_that_will_be_chosen_may_be_changed(key: str) -> None:
    place = chosen(**{key: 'new'}).model.pairs
    assert place.type == 'auto'
    for part in key.split('.'):
        place = place[part]
    assert place == 'new'


def test_pairs_that_will_be_chosen_have_their_names() -> None:
    with pytest.raises(ConfigError, match=r"no 'feature'\. Close: 'features'"):
        chosen(**{'feature.layer': 'backbone'})


def test_the_keys_of_a_class_map_are_known() -> None:
    classes = dict(student=['a'], teacher='mmdet.CocoDataset', rename={'person': 'a'})
    check(
        **{
            **{f'model__teacher__class_map__{key}': classes[key] for key in classes},
            'model__teacher__class_map__rename__cat': 'a',
        }
    )
    with pytest.raises(ConfigError, match=r"class_map has no 'techer'. Close: 'teache"):
        check(model__teacher__class_map__techer=['a'])


def test_the_keys_of_a_fast_teacher_are_known() -> None:
    for name in ('fast', 'fast__dtype', 'fast__tolerance', 'fast__fold_bn'):
        check(**{f'model__teacher__{name}': 'float32'})
    with pytest.raises(ConfigError, match=r"fast has no 'folded'. Close: 'fold_bn'"):
        check(model__teacher__fast__folded=True)
