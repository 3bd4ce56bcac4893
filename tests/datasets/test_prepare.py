"""By name, from the command line, and by the hook that the configs name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from kd_plugins.datasets import DATASETS, PrepareDataHook, prepare
from kd_plugins.datasets.__main__ import main
from kd_plugins.errors import ConfigError
from kd_plugins.registry import HOOKS

BASES = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """All data sets, tiny, made by the command line."""
    root = tmp_path_factory.mktemp('data')
    main(['all', '--root', str(root), '--train', '4', '--val', '2'])
    return root


def test_command_line_makes_all_and_says_where(data, capsys):
    main(['all', '--root', str(data), '--train', '4', '--val', '2'])
    assert capsys.readouterr().out.split() == [str(data / name) for name in DATASETS]
    assert len(list((data / 'digits' / 'train').iterdir())) == 4
    for name in ('mosaics', 'planes'):
        assert len(list((data / name / 'images' / 'val').iterdir())) == 2


def test_command_line_takes_the_root_from_the_environment(data, capsys, monkeypatch):
    monkeypatch.setenv('KD_PLUGINS_DATA', str(data))
    main(['mosaics', '--train', '4', '--val', '2'])
    assert capsys.readouterr().out.strip() == str(data / 'mosaics')


def test_an_unknown_name_is_an_error(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"must be 'digits', 'mosaics' or 'planes', got 'digit'. Close: 'digits'.",
    ):
        prepare('digit', tmp_path)


def test_the_hook_makes_the_data_when_it_is_built(tmp_path):
    hook = HOOKS.build(
        dict(
            type='kd_plugins.PrepareDataHook',
            dataset='digits',
            root=str(tmp_path / 'digits'),
            train=1,
            val=1,
        )
    )
    assert isinstance(hook, PrepareDataHook)
    assert (tmp_path / 'digits' / 'annotations' / 'val.json').exists()


def read(name: str, data: Path, monkeypatch) -> Config:
    monkeypatch.setenv('KD_PLUGINS_DATA', str(data))
    config = Config.fromfile(BASES / f'{name}.py')
    for hook in config.custom_hooks:
        HOOKS.build({**hook, 'train': 4, 'val': 2})
    return config


@pytest.mark.host
@pytest.mark.parametrize('masks', [False, True])
def test_digits_are_a_plain_coco_data_set(data, monkeypatch, masks):
    from mmdet.registry import DATASETS, METRICS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope('mmdet')
    name = 'digits_instance' if masks else 'digits_detection'
    config = read(name, data, monkeypatch)
    train = DATASETS.build(config.train_dataloader.dataset)
    assert len(train) == 4
    sample = train[0]
    assert sample['inputs'].shape == (3, 128, 128)
    instances = sample['data_samples'].gt_instances
    assert len(instances.labels) >= 1
    if masks:
        boxes = instances.masks.get_bboxes(type(instances.bboxes)).tensor
        assert torch.equal(boxes, instances.bboxes.tensor)
    val = DATASETS.build(config.val_dataloader.dataset)
    assert len(val) == 2
    assert val.metainfo['classes'] == tuple('0123456789')
    metric = METRICS.build(config.val_evaluator)
    assert metric.metrics == (['bbox', 'segm'] if masks else ['bbox'])


@pytest.mark.host
def test_mosaics_are_a_plain_segmentation_data_set(data, monkeypatch):
    from mmseg.registry import DATASETS
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')
    config = read('mosaics', data, monkeypatch)
    train = DATASETS.build(config.train_dataloader.dataset)
    assert len(train) == 4
    sample = train[0]
    assert sample['inputs'].shape == (3, 128, 128)
    labels = sample['data_samples'].gt_sem_seg.data
    assert labels.shape == (1, 128, 128)
    assert set(np.unique(labels)) <= set(range(13))
    val = DATASETS.build(config.val_dataloader.dataset)
    assert len(val) == 2
    assert len(val.metainfo['palette']) == 13


@pytest.mark.host
def test_planes_are_a_plain_depth_data_set(data, monkeypatch):
    from mmseg.registry import DATASETS, METRICS
    from mmseg.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')
    config = read('planes', data, monkeypatch)
    train = DATASETS.build(config.train_dataloader.dataset)
    assert len(train) == 4
    sample = train[0]
    assert sample['inputs'].shape == (3, 128, 128)
    depth = sample['data_samples'].gt_depth_map.data
    assert depth.shape == (1, 128, 128)
    assert depth.dtype == torch.float32
    assert depth.min() == 0  # not measured
    assert 1 < depth.max() <= 10  # metres
    val = DATASETS.build(config.val_dataloader.dataset)
    assert len(val) == 2
    assert METRICS.build(config.val_evaluator).max_depth_eval == 10
    config.train_dataloader.dataset.indices = 3  # as the student's labels
    assert len(DATASETS.build(config.train_dataloader.dataset)) == 3


def test_the_config_names_the_classes_of_the_generator(monkeypatch):
    from kd_plugins.datasets.mosaics import CLASSES

    config = Config.fromfile(BASES / 'mosaics.py')
    assert config.metainfo.classes == CLASSES
