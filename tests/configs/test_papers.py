"""Weights, schedules and teachers are those of the papers, and of the hosts' lists."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mmdet
import mmseg
import pytest
from mmengine.fileio import load as read_file

from kd_plugins.config_files import read_config
from tests.configs.tree import (
    CONFIGS,
    DISTILLATIONS,
    FILES,
    OWN_MODEL,
    OWN_SCHEDULE,
    STAGED,
    bases,
    header,
    host_base,
    load,
    name,
    pairs,
    plain,
    says,
    settings,
)

HOSTS = {host.__name__: Path(host.__file__).parent for host in (mmdet, mmseg)}


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in DISTILLATIONS
        if path.parent.name == 'chen2017' and '_digits' in path.stem
    ],
    ids=name,
)
def test_single_terms_weigh_what_they_weigh_in_the_full_system(path: Path) -> None:
    full, term = load(CONFIGS / 'frcnn_kd.py').model, load(path).model
    assert term.student == full.student
    assert term.teacher == full.teacher
    assert term.init_from_teacher == full.init_from_teacher
    for pair, entry in pairs(load(path)).items():
        assert entry.loss.loss_weight == full.pairs[pair].loss.loss_weight
        for key in ('temperature', 'margin', 'norm'):
            if key in entry.loss:
                assert entry.loss[key] == full.pairs[pair].loss[key]
    # mu goes with the soft labels, stage by stage.
    soft = {'rcn_cls': 'loss_cls', 'rpn_cls': 'loss_rpn_cls'}
    expected = {
        key: full.task_loss_weights[key]
        for pair, key in soft.items()
        if pair in pairs(load(path)) and key in full.task_loss_weights
    }
    assert term.task_loss_weights == expected


@pytest.mark.parametrize(
    'path',
    [path for path in DISTILLATIONS if CONFIGS / 'seg_skd.py' in bases(path)],
    ids=name,
)
def test_a_rung_of_the_ladder_is_the_main_job_without_those_above(path: Path) -> None:
    full, rung = load(CONFIGS / 'seg_skd.py'), load(path)
    kept = pairs(rung)
    assert kept == {pair: full.model.pairs[pair] for pair in kept}
    full.model.pairs = rung.model.pairs
    assert rung.model == full.model
    assert settings(rung) == settings(full)


def test_hosts_data_all_have_the_same_weights() -> None:
    hosts = [
        load(path).model
        for path in DISTILLATIONS
        if host_base(path) and path.parent.name == 'chen2017'
    ]
    assert len(hosts) == 8
    for model in hosts:
        assert model.pairs == hosts[0].pairs
        assert model.task_loss_weights == hosts[0].task_loss_weights
    # Those of the paper, and of its reimplementations where it gives none.
    weights = {pair: entry.loss.loss_weight for pair, entry in hosts[0].pairs.items()}
    assert weights == {
        'hint': 0.5,
        'rcn_cls': pytest.approx(1 - 0.8),
        'rcn_reg': 0.5,
        'rpn_cls': pytest.approx(1 - 0.8),
        'rpn_reg': 0.5,
    }
    assert hosts[0].task_loss_weights == {'loss_cls': 0.8, 'loss_rpn_cls': 0.8}


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in DISTILLATIONS
        if path.parent.name == 'skd' and not re.search('_(mosaics|planes)', path.stem)
    ],
    ids=name,
)
def test_structured_distillation_weighs_as_in_the_paper(path: Path) -> None:
    cfg = load(path)
    expected = {'PixelWiseLoss': 10.0, 'PairWiseLoss': 10.0, 'HolisticLoss': 0.1}
    for entry in pairs(cfg).values():
        assert entry.loss.loss_weight == expected[entry.loss.type]
    if 'decode_head' in cfg.model.student and 'pair' in pairs(cfg):
        # The feature that a head classifies, or tells the depth of.
        last = {
            'SegformerHead': 'decode_head.fusion_conv',
            'VPDDepthHead': 'decode_head.decoder.conv_layers',
        }
        head = cfg.model.student.decode_head.type
        layer = last.get(head, 'decode_head.bottleneck')
        assert cfg.model.pairs.pair.layer == layer


# Of each level of a neck, for detectors of two stages and of one.
OF_A_LEVEL = {
    'fgd': (1.0, 1.0),  # it has weights of its own
    'mgd': (5e-7, 2e-5),
    'fbkd': (1.0, None),
    'pkd': (6.0, 10.0),
    'cwd': (None, 5.0),
}


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in DISTILLATIONS
        if path.parent.name in OF_A_LEVEL and re.search('neck.*_coco', path.stem)
    ],
    ids=name,
)
def test_levels_of_a_neck_are_added_up_with_the_papers_weight(path: Path) -> None:
    cfg = load(path)
    pair = cfg.model.pairs.neck
    assert pair.levels_reduction == 'sum'
    teacher = path.stem.split('_')[1]
    stages = 2 if teacher.startswith(('frcnn', 'mask')) else 1
    weight = OF_A_LEVEL[path.parent.name][2 - stages]
    assert pair.loss.get('loss_weight', 1.0) == weight


# The convolution where heads are crossed, and the weight of each term.
CROSSED = {
    'gfl': (3, dict(CrossKDLoss=1.0, LDLoss=4.0)),
    'retina': (3, dict(CrossKDLoss=1.0, BoxIoULoss=1.0)),
    'atss': (3, dict(CrossKDLoss=1.0, BoxIoULoss=1.0, KDLoss=1.0)),
    'fcos': (2, dict(CrossKDLoss=0.4, BoxIoULoss=0.75)),
}


@pytest.mark.parametrize(
    'path',
    [path for path in DISTILLATIONS if path.parent.name == 'crosskd'],
    ids=name,
)
def test_heads_are_crossed_where_and_weighed_as_released(path: Path) -> None:
    kind = path.stem.split('_')[1].split('-')[0]
    layer, weights = CROSSED[kind]
    if '_digits' in path.stem:  # heads of two convolutions, not of four
        layer = 1
    found = {}
    for pair in pairs(load(path)).values():
        view = pair.view if isinstance(pair.view, dict) else dict(value=pair.view)
        assert view.get('layer', 3) == layer
        found[pair.loss.type] = pair.loss.get('loss_weight', 1.0)
        if pair.loss.type == 'LDLoss':
            assert pair.loss.temperature == 1.0
        if pair.loss.type == 'BoxIoULoss':
            assert pair.loss.kind == ('iou' if kind == 'fcos' else 'giou')
    assert found == weights


def test_schedule_of_the_paper() -> None:
    path = CONFIGS / f'cityscapes/pspnet_r18-d8{OWN_SCHEDULE}.py'
    cfg = load(path)
    crops = [
        step.crop_size
        for step in cfg.train_dataloader.dataset.pipeline
        if step.type == 'RandomCrop'
    ]
    assert crops == [(512, 512)]
    assert cfg.train_cfg.max_iters == 40000
    optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
    assert plain(cfg.optim_wrapper.optimizer) == optimizer
    (poly,) = cfg.param_scheduler
    assert (poly.type, poly.power, poly.eta_min) == ('PolyLR', 0.9, 0.0)
    assert (poly.begin, poly.end) == (0, 40000)
    assert 'train_dataloader.batch_size=8' in header(path)
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4


@pytest.mark.host
@pytest.mark.parametrize(
    'path', [path for path in FILES if path.stem.endswith(OWN_SCHEDULE)], ids=name
)
def test_own_schedule_changes_nothing_else_of_the_host(path: Path) -> None:
    base = host_base(path)
    assert base is not None
    cfg, host = load(path), read_config(base)
    crop = {'crop_size', 'train_pipeline.3.crop_size'}
    crop |= {'train_dataloader.dataset.pipeline.3.crop_size'}
    schedule = {'param_scheduler.0.end', 'param_scheduler.0.eta_min'}
    schedule |= {'train_cfg.max_iters', 'train_cfg.val_interval'}
    schedule |= {'default_hooks.checkpoint.interval'}
    assert changed(settings(cfg), settings(host)) == crop | schedule
    model = cfg.model.get('student', cfg.model)
    assert changed(plain(model), plain(host.model)) == {'data_preprocessor.size'}


@pytest.mark.host
@pytest.mark.parametrize(
    'path', [path for path in FILES if path.stem.endswith(OWN_MODEL)], ids=name
)
def test_own_model_changes_little_else_of_the_host(path: Path) -> None:
    base = host_base(path)
    assert base is not None
    cfg, host = load(path), read_config(base)
    # The package that Albu wants, Stable Diffusion's rates and unused parts.
    steps = ('train_pipeline.5', 'train_dataloader.dataset.pipeline.5')
    albu = {f'{step}.{key}' for step in steps for key in ('type', 'transforms')}
    keys = 'optim_wrapper.paramwise_cfg.custom_keys'
    rates = {f'{keys}.{key}' for key in ('backbone', *host_rates(host))}
    found = changed(settings(cfg), settings(host))
    assert found == albu | rates | {'find_unused_parameters'}
    assert host.train_pipeline[5].type == 'Albu'
    model = cfg.model.get('student', cfg.model)
    head = plain(model.decode_head)
    kept = {key: head[key] for key in ('type', 'max_depth')}
    assert kept == dict(type='VPDDepthHead', max_depth=10)
    size = ('size', 'pad_val', 'seg_pad_val', 'bgr_to_rgb')
    for key in size:
        assert model.data_preprocessor[key] == host.model.data_preprocessor[key]


def host_rates(host: Any) -> list[str]:
    return list(host.optim_wrapper.paramwise_cfg.custom_keys)


def changed(value: Any, other: Any, at: tuple[str, ...] = ()) -> set[str]:
    """Keys that differ, with dots; of a list of dicts entry by entry."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value, other = dict(enumerate(value)), dict(enumerate(other))
    if not (isinstance(value, dict) and isinstance(other, dict)):
        return set() if value == other else {'.'.join(at)}
    found: set[str] = set()
    for key in {*value, *other}:
        found |= changed(value.get(key), other.get(key), (*at, str(key)))
    return found


@pytest.mark.host
@pytest.mark.parametrize(
    'path',
    # Stages inherit theirs from one of these.
    [
        path
        for path in DISTILLATIONS
        if path not in STAGED and says(path, "'https://download.")
    ],
    ids=name,
)
def test_teacher_of_the_host_is_the_one_its_metafile_lists(path: Path) -> None:
    teacher = load(path).model.teacher
    package, _, file = teacher.cfg.partition('::')
    (metafile,) = (HOSTS[package] / '.mim/configs' / file).parent.glob('metafile.y*ml')
    models = {model['Name']: model for model in read_file(metafile)['Models']}
    listed = models[Path(file).stem]
    # The maintained family lists its own mirror of the same files.
    assert urlsplit(listed['Weights']).path == urlsplit(teacher.checkpoint).path
    # The table of the method's page gives the score.
    page = (path.parent / 'README.md').read_text()
    (row,) = (line for line in page.splitlines() if f'({path.name})' in line)
    results = listed['Results']
    metrics = [results] if isinstance(results, dict) else results
    scores = {key: one for result in metrics for key, one in result['Metrics'].items()}
    score = scores['mIoU' if package == 'mmseg' else 'box AP']
    assert float(row.split('|')[4].split()[0]) == score
