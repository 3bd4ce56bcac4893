"""What every config promises in its name, its header and its bases."""

import re
from pathlib import Path
from typing import Any

import mmdet
import pytest
from mmengine.config import Config
from mmengine.fileio import load as read_file

from kd_plugins.config_files import read_config
from tests.configs.tree import (
    CONFIGS,
    DISTILLATIONS,
    FILES,
    ROOT,
    bases,
    header,
    host_base,
    load,
    name,
    pairs,
)

every_file = pytest.mark.parametrize('path', FILES, ids=name)
every_distillation = pytest.mark.parametrize('path', DISTILLATIONS, ids=name)
HOST = Path(mmdet.__file__).parent
# Our own keys; distill.py brings the first two.
ADDED = {'custom_imports', 'runner_type', 'model'}
KINDS = {
    'FasterRCNN': 'frcnn',
    'CascadeRCNN': 'cascade',
    'MaskRCNN': 'mask',
    'FCOS': 'fcos',
    'PSPHead': 'psp',
    'ASPPHead': 'dl3',
    'SegformerHead': 'segformer',
}
# By number of layers and width: B0 and B4.
MIX_TRANSFORMERS = {(8, 32): 'b0', (41, 64): 'b4'}
# What a distillation's name says, and what it then compares: with or without adapter,
# weight of the background, loss.
TERMS: dict[str, dict[str, Any]] = {
    'hint': {'hint': 'ConvAdapter'},
    'hint-no-adapter': {'hint': None},
    'cls-weighted': {'rcn_cls': 1.5, 'rpn_cls': 1.5},
    'cls-plain': {'rcn_cls': 1.0, 'rpn_cls': 1.0},
    'reg-bounded': {'rcn_reg': 'TeacherBoundedLoss', 'rpn_reg': 'TeacherBoundedLoss'},
    'reg-l2': {'rcn_reg': 'DeltaL2Loss', 'rpn_reg': 'DeltaL2Loss'},
    'rcn': {'rcn_cls': 1.5, 'rcn_reg': 'TeacherBoundedLoss'},
    'rpn': {'rpn_cls': 1.5, 'rpn_reg': 'TeacherBoundedLoss'},
}
TERMS['full'] = TERMS['hint'] | TERMS['rcn'] | TERMS['rpn']
TERMS['full-no-adapter'] = TERMS['full'] | TERMS['hint-no-adapter']
TERMS['start'] = {}
TERMS['pixel'] = {'pixel': 'PixelWiseLoss'}
TERMS['pixel-pair'] = TERMS['pixel'] | {'pair': None}
FULL = {'skd': TERMS['pixel-pair'] | {'holistic': 'HolisticLoss'}}


def plain(value: Any) -> Any:
    """Without the scopes that mmengine notes on what comes from a host's config."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def settings(cfg: Config) -> dict[str, Any]:
    """All of a config but the model, and what we add."""
    whole: dict[str, Any] = plain(cfg._cfg_dict.to_dict())
    return {key: value for key, value in whole.items() if key not in ADDED}


def teacher_model(cfg: Config) -> Any:
    return read_config(cfg.model.teacher.cfg).model


@every_file
def test_header_says_command_cost_and_result(path: Path) -> None:
    text = header(path)
    command = re.search(r'^# Run: .*python tools/\w+\.py +(configs/\S+)?', text, re.M)
    assert command, text
    if command[1] is not None:
        assert ROOT / command[1] == path
    assert '# Cost and result: ' in text


@every_distillation
def test_header_names_the_paper(path: Path) -> None:
    assert re.search(r'arXiv:\d{4}\.\d{5}|https://papers\.nips\.cc/\S+', header(path))


def schedule_of(cfg: Config) -> str:
    """'1x' is twelve epochs of the data; iterations are counted in thousands."""
    if cfg.train_cfg.type == 'IterBasedTrainLoop':
        thousands, rest = divmod(cfg.train_cfg.max_iters, 1000)
        return f'{cfg.train_cfg.max_iters}it' if rest else f'{thousands}k'
    epochs = cfg.train_cfg.max_epochs * cfg.train_dataloader.dataset.get('times', 1)
    return f'{epochs // 12}x'


def dataset_of(cfg: Config) -> str:
    dataset = cfg.train_dataloader.dataset
    if dataset.type == 'RepeatDataset':
        years = [part.ann_file[:7] for part in dataset.dataset.datasets]
        assert years == ['VOC2007', 'VOC2012']
        return 'voc0712'
    root = Path(dataset.data_root).name
    crop = [step.crop_size for step in dataset.pipeline if step.type == 'RandomCrop']
    if crop:  # of segmentation
        root = {'ADEChallengeData2016': 'ade20k'}.get(root, root)
        return f'{root}-{"x".join(map(str, crop[0]))}'
    labels = re.search(r'train_(\d+)\.json$', dataset.ann_file)
    return f'{root}-{labels[1]}' if labels else root


def backbone_of(model: Any) -> str:
    backbone = model.backbone
    if backbone.type == 'MobileNetV2':
        return 'mv2'
    if backbone.type == 'MixVisionTransformer':
        return MIX_TRANSFORMERS[sum(backbone.num_layers), backbone.embed_dims]
    width = f'-w{backbone.base_channels}' if 'base_channels' in backbone else ''
    return f'r{backbone.depth}{width}'


def model_of(model: Any) -> str:
    # Of the embedded benchmark's models, all ResNet-18, the name says the width only.
    kind = model.decode_head.type if 'decode_head' in model else model.type
    return f'{KINDS[kind]}-{backbone_of(model).replace("r18-w", "w")}'


@pytest.mark.parametrize(
    'path',
    [path for path in DISTILLATIONS if path.parent != CONFIGS],  # not the main jobs
    ids=name,
)
def test_name_of_a_distillation_is_true(path: Path) -> None:
    cfg = load(path)
    what, teacher, student, schedule, dataset = path.stem.split('_')
    method, _, where = what.partition('-')
    assert method == path.parent.name
    assert teacher == model_of(teacher_model(cfg))
    assert student == model_of(cfg.model.student)
    assert schedule == schedule_of(cfg)
    assert dataset == dataset_of(cfg)
    full = FULL.get(method) if where == 'full' else None
    assert what_is_compared(cfg) == (full or TERMS[where])


def what_is_compared(cfg: Config) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for pair, entry in pairs(cfg).items():
        if 'layer' in entry:
            adapter = entry.get('adapter')
            told[pair] = adapter and adapter.type
        else:
            told[pair] = entry.loss.get('background_weight', entry.loss.type)
    return told


@pytest.mark.parametrize(
    'path',
    [path for path in FILES if path.stem.startswith('faster-rcnn_')],
    ids=name,
)
def test_name_of_a_plain_config_is_true(path: Path) -> None:
    cfg = load(path)
    kind, backbone, neck, schedule, dataset = path.stem.split('_')
    assert (kind, neck) == ('faster-rcnn', cfg.model.neck.type.lower())
    assert cfg.model.type == 'FasterRCNN'
    assert backbone == backbone_of(cfg.model)
    assert schedule == schedule_of(cfg)
    assert dataset == dataset_of(cfg)


@pytest.mark.host
@pytest.mark.parametrize('path', [path for path in FILES if host_base(path)], ids=name)
def test_host_base_is_untouched_but_for_the_model(path: Path) -> None:
    base = host_base(path)
    assert base is not None
    cfg, host = load(path), read_config(base)
    assert settings(cfg) == settings(host)
    if base in bases(path) and path in DISTILLATIONS:
        assert plain(cfg.model.student) == plain(host.model)


@pytest.mark.parametrize(
    ('distillation', 'baseline'),
    [
        ('frcnn_kd.py', 'digits/faster-rcnn_r18-w16_fpn_1k_digits-300.py'),
        (
            'chen2017/chen2017-full-no-adapter_frcnn-w32_frcnn-w16_4k_digits.py',
            'digits/faster-rcnn_r18-w16_fpn_4k_digits.py',
        ),
        (
            'chen2017/chen2017-full_frcnn-r50_frcnn-r18_1x_coco.py',
            'coco/faster-rcnn_r18_fpn_1x_coco.py',
        ),
        (
            'chen2017/chen2017-full_frcnn-r50_frcnn-r18_2x_coco.py',
            'coco/faster-rcnn_r18_fpn_2x_coco.py',
        ),
        (
            'skd/skd-pixel-pair_fcos-r50_fcos-mv2_1x_coco.py',
            'coco/fcos_mv2_fpn_gn-head_1x_coco.py',
        ),
        (
            'chen2017/chen2017-full_frcnn-r50_frcnn-r18_1x_voc0712.py',
            'pascal_voc/faster-rcnn_r18_fpn_1x_voc0712.py',
        ),
    ],
)
def test_distillation_differs_from_its_baseline_in_the_pairs_alone(
    distillation: str, baseline: str
) -> None:
    taught, alone = load(CONFIGS / distillation), load(CONFIGS / baseline)
    assert settings(taught) == settings(alone)
    assert plain(taught.model.student) == plain(alone.model)


@pytest.mark.parametrize(
    'path', [path for path in DISTILLATIONS if '_digits' in path.stem], ids=name
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


@pytest.mark.host
@pytest.mark.parametrize(
    'path', [path for path in DISTILLATIONS if path.stem.endswith('_coco')], ids=name
)
def test_teacher_of_the_host_has_the_weights_its_metafile_names(path: Path) -> None:
    teacher = load(path).model.teacher
    file = Path(teacher.cfg.removeprefix('mmdet::'))
    metafile = read_file(HOST / '.mim' / 'configs' / file.parent / 'metafile.yml')
    models = {model['Name']: model for model in metafile['Models']}
    assert models[file.stem]['Weights'] == teacher.checkpoint
