"""What every config promises in its name, its header and its bases."""

import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from kd_plugins import losses, target_transforms
from kd_plugins.benchmark.protocol import read_protocol
from kd_plugins.config_files import read_config
from kd_plugins.distillers.peers import peer_model
from kd_plugins.engine.stages import read_stages
from kd_plugins.teachers import model_config
from tests.configs.tree import (
    BY_LABELS,
    CONFIGS,
    DISTILLATIONS,
    FILES,
    FIRST_STAGES,
    MAIN_JOBS,
    OWN_MODEL,
    OWN_SCHEDULE,
    PEERS,
    ROOT,
    STAGED,
    alone,
    first_stage,
    has_teacher,
    header,
    host_base,
    inner,
    is_auto,
    load,
    name,
    own_bases,
    pairs,
    parts,
    plain,
    settings,
    stages_of,
)

every_file = pytest.mark.parametrize('path', FILES, ids=name)
every_distillation = pytest.mark.parametrize('path', DISTILLATIONS, ids=name)
all_peers = pytest.mark.parametrize('path', PEERS, ids=name)
KINDS = {
    'FasterRCNN': 'frcnn',
    'CascadeRCNN': 'cascade',
    'MaskRCNN': 'mask',
    'FCOS': 'fcos',
    'RetinaNet': 'retina',
    'ATSS': 'atss',
    'GFL': 'gfl',
    'RTMDet': 'rtmdet',
    'DINO': 'dino',
    'PSPHead': 'psp',
    'ASPPHead': 'dl3',
    'SegformerHead': 'segformer',
    'VPDDepthHead': 'depth',
}
# Of the embedded benchmarks, alone.
DETECTORS = {'faster-rcnn_': 'FasterRCNN', 'gfl_': 'GFL'}
# By number of layers and width: B0 and B4.
MIX_TRANSFORMERS = {(8, 32): 'b0', (41, 64): 'b4'}
# Likewise; those of RTMDet by their two factors.
SWIN_TRANSFORMERS = {(24, 96): 'swin-s', (24, 192): 'swin-l'}
CSP_NEXT = {(1, 1): 'l', (0.33, 0.5): 's'}
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
TERMS['pair'] = {'pair': 'PairWiseLoss'}
TERMS['pair-holistic'] = TERMS['pair'] | {'holistic': 'HolisticLoss'}
TERMS['pixel'] = {'pixel': 'PixelWiseLoss'}
TERMS['pixel-pair'] = TERMS['pixel'] | TERMS['pair']
TERMS['logits'] = {'logits': 'KDLoss'}
TERMS |= dict.fromkeys(('entropy', 'average'), TERMS['logits'])
TERMS['logits-features'] = TERMS['logits'] | {'features': 'ConvAdapter'}
TERMS |= {name: {name: 'KDLoss'} for name in ('resolution', 'noise')}
TERMS |= dict.fromkeys(('gate', 'short-teacher', 'partial'), TERMS['logits'])
TERMS |= dict.fromkeys(('b', 'distilled-w4'), TERMS['logits'])
# What such a name says of the teachers.
COMBINATIONS = {
    'logits-features': 'ConfidenceWeights',
    'entropy': 'EntropyWeights',
    'average': 'MeanLosses',
}
FULL = {'skd': TERMS['pixel-pair'] | {'holistic': 'HolisticLoss'}}
FULL['mixkd'] = TERMS['logits']
# Of several terms, or of teachers; every other method is one loss, that of its name.
OF_TERMS = ('chen2017', 'skd', 'camkd', 'rco', 'gd', 'eskd', 'mixkd')
OF_TERMS += ('apprentice', 'polino2018')
# Of a method in another form: what it compares says which.
LOSS_OF_PAIR = {('at', 'gradient'): 'GradientATLoss'}
LOSS_OF = {kind.removesuffix('Loss').lower(): kind for kind in losses.__all__}
# Of what is done to a teacher before another method's loss.
TRANSFORM_OF = {
    kind.removesuffix('Transform').lower(): kind
    for kind in target_transforms.__all__
    if kind.endswith('Transform')
}


def teacher_model(cfg: Config) -> Any:
    """Of an ensemble that of all members."""
    teacher = cfg.model.teacher
    (config,) = {member.cfg for member in teacher.get('members', [teacher])}
    return read_config(config).model


@every_file
def test_header_says_command_cost_and_result(path: Path) -> None:
    text = header(path)
    command = re.search(r'^# Run: .*python tools/\w+\.py +(configs/\S+)?', text, re.M)
    assert command, text
    if command[1] is not None:
        assert ROOT / command[1] == path
    assert '# Cost and result: ' in text


@pytest.mark.parametrize('path', [*DISTILLATIONS, *PEERS], ids=name)
def test_header_names_the_paper(path: Path) -> None:
    places = r'arxiv\.org/abs|papers\.nips\.cc|openreview\.net|openaccess\.thecvf\.com'
    places += r'|doi\.org'
    paper = rf'arXiv:\d{{4}}\.\d{{5}}|https://({places})/\S+'
    assert re.search(paper, header(path))


def schedule_of(*cfgs: Config) -> str:
    """'1x' is twelve epochs of the data; iterations are counted in thousands.

    Of stages, those of all.
    """
    cfg = cfgs[0]
    if cfg.train_cfg.type == 'IterBasedTrainLoop':
        iterations = sum(each.train_cfg.max_iters for each in cfgs)
        thousands, rest = divmod(iterations, 1000)
        return f'{iterations}it' if rest else f'{thousands}k'
    epochs = cfg.train_cfg.max_epochs * cfg.train_dataloader.dataset.get('times', 1)
    return f'{epochs // 12}x'


def dataset_of(cfg: Config) -> str:
    dataset = cfg.train_dataloader.dataset
    if dataset.type == 'kd_plugins.SeededViews':
        dataset = dataset.dataset
    if dataset.type == 'ConcatDataset':  # labels that people made come first
        dataset = dataset.datasets[0]
    if dataset.type == 'RepeatDataset':
        years = [part.ann_file[:7] for part in dataset.dataset.datasets]
        assert years == ['VOC2007', 'VOC2012']
        return 'voc0712'
    root = Path(dataset.data_root).name
    crop = [step.crop_size for step in dataset.pipeline if step.type == 'RandomCrop']
    if crop and dataset.type != 'CocoDataset':  # of segmentation
        root = {'ADEChallengeData2016': 'ade20k'}.get(root, root)
        return f'{root}-{"x".join(map(str, crop[0]))}'
    if (
        dataset.type == 'NYUDataset'
    ):  # it lists a folder, of which it may take the first
        return f'{root}-{dataset.indices}' if 'indices' in dataset else root
    labels = re.search(r'train_(\d+)\.(json|txt)$', dataset.ann_file)
    named = f'{root}-{labels[1]}' if labels else root
    for step in dataset.pipeline if root == 'mosaics' else ():  # what is seen of them
        named += {'Resize': '-64x64', 'kd_plugins.GaussianNoise': '-noise'}.get(
            step.type, ''
        )
        assert step.get('scale', (64, 64)) == (64, 64)
    return named


def backbone_of(model: Any) -> str:
    backbone = model.backbone
    if backbone.type == 'MobileNetV2':
        return 'mv2'
    if backbone.type == 'MixVisionTransformer':
        return MIX_TRANSFORMERS[sum(backbone.num_layers), backbone.embed_dims]
    if backbone.type == 'SwinTransformer':
        return SWIN_TRANSFORMERS[sum(backbone.depths), backbone.embed_dims]
    if backbone.type == 'CSPNeXt':
        return CSP_NEXT[backbone.deepen_factor, backbone.widen_factor]
    width = f'-w{backbone.base_channels}' if 'base_channels' in backbone else ''
    return f'r{backbone.depth}{width}'


def prunes(cfg: Config) -> bool:
    return any(
        hook.type == 'kd_plugins.PruneHook' for hook in cfg.get('custom_hooks') or ()
    )


def student_of(path: Path, cfg: Config) -> Any:
    """The student's model; of one that a stage makes narrower, the whole one."""
    source = re.fullmatch(r'\{(\w+)\.config\}', cfg.model.student.get('cfg', ''))
    if source is None:
        return cfg.model.student
    (narrow,) = (each for each in read_stages(load(path)) if each.name == source[1])
    assert not narrow.trains
    return narrow.cfg.model


def model_of(model: Any) -> str:
    model = inner(model)
    # Of the embedded benchmark's models, all ResNet-18, the name says the width only.
    kind = model.decode_head.type if 'decode_head' in model else model.type
    return f'{KINDS[kind]}-{backbone_of(model).replace("r18-w", "w")}'


@pytest.mark.parametrize(
    'path',
    [path for path in DISTILLATIONS if path not in MAIN_JOBS],
    ids=name,
)
def test_name_of_a_distillation_is_true(path: Path) -> None:
    trainings = stages_of(path)
    cfg = trainings[-1]
    # A teacher that is pruned first is no student.
    first = next(each for each in trainings if not prunes(each))
    what, *teacher, student, schedule, dataset = path.stem.split('_')
    method, _, where = what.partition('-')
    assert method == path.parent.name
    assert where.endswith('-cached') == ('cache' in (cfg.model.teacher or {}))
    where = where.removesuffix('-cached')
    sampler = cfg.train_dataloader.sampler.type
    assert where.endswith('-sampled') == (sampler == 'ClassAwareSampler')
    where = where.removesuffix('-sampled')
    hooks = {hook.type for hook in cfg.get('custom_hooks') or []}
    if method != 'mixkd':  # whose images always are
        assert where.endswith('-mixed') == ('kd_plugins.MixedBatchesHook' in hooks)
        where = where.removesuffix('-mixed')
    # Of generations, the first has none.
    assert teacher == ([model_of(teacher_model(first))] if has_teacher(first) else [])
    assert student == model_of(student_of(path, cfg))
    assert schedule == schedule_of(*stages_of(path))
    assert dataset == dataset_of(cfg)
    if path in STAGED:  # what the stages do is told below
        return
    assert is_auto(cfg) == (method == 'auto')
    if where == 'start' or is_auto(cfg) or method in BY_LABELS:
        assert not pairs(cfg)
        return
    if method not in OF_TERMS:
        assert_pairs_are_told(cfg, method, where)
        return
    kind = cfg.model.teacher.get('type', '').removeprefix('kd_plugins.')
    assert kind == {'camkd': 'Ensemble', 'rco': 'Route', 'gd': 'Privileged'}.get(
        method, ''
    )
    if kind == 'Ensemble':
        assert cfg.model.teacher.combine.type == COMBINATIONS[where]
    full = FULL.get(method) if where == 'full' else None
    assert what_is_compared(cfg) == (full or TERMS[where])


@all_peers
def test_name_of_peers_is_true(path: Path) -> None:
    """The one that is deployed stands last, and the other before it."""
    cfg = load(path)
    what, other, deployed, schedule, dataset = path.stem.split('_')
    assert what.startswith(f'{path.parent.name}-')
    assert schedule == schedule_of(cfg)
    assert dataset == dataset_of(cfg)
    models = {name: peer_model(peer) for name, peer in cfg.model.peers.items()}
    assert deployed == model_of(models.pop(cfg.model.deploy))
    others = {model_of(model) for model in models.values()}
    assert {other} == (others - {deployed} or others)


@all_peers
def test_the_deployed_peer_is_that_of_the_baseline(path: Path) -> None:
    baseline = alone(path)
    assert baseline is not None
    taught, plainly = load(path), load(baseline)
    own = taught.optim_wrapper.pop('peer_cfg', {})
    assert taught.model.deploy not in own
    assert settings(taught) == settings(plainly)
    deployed = peer_model(taught.model.peers[taught.model.deploy])
    assert plain(inner(deployed)) == plain(plainly.model)


@every_distillation
def test_two_models_that_have_a_part_are_wrapped_there_alone(path: Path) -> None:
    models = path.stem.partition('_')[2]
    part = CONFIGS / '_base_' / 'distill' / f'{models}.py'
    inherited = [base for base in parts(path) if base.parent == part.parent]
    if path in STAGED and not part.is_file():  # a stage is as long, not all together
        same = models.split('_')[:-2]
        assert [base.stem.split('_')[:-2] for base in inherited] in ([], [same])
        return
    assert inherited in ([], [part])
    students = {base for base in own_bases(path) if base.stem.endswith('_student')}
    if part.is_file() and students <= set(own_bases(part)):
        assert "type='kd_plugins.Distiller'" not in path.read_text()


def test_weights_of_a_host_are_named_in_one_place() -> None:
    texts = [path.read_text() for path in CONFIGS.rglob('*.py')]
    files = [file for text in texts for file in re.findall(r"'([^']+\.pth)'\)", text)]
    downloaded = [file for file in files if not file.startswith('work_dirs/')]
    assert downloaded
    assert sorted(downloaded) == sorted(set(downloaded))


@pytest.mark.parametrize('path', FIRST_STAGES, ids=name)
def test_name_of_a_first_stage_is_true(path: Path) -> None:
    cfg = load(path)
    what, teacher, schedule, dataset = path.stem.split('_')
    assert what == f'{path.parent.name}-tokens'
    assert teacher == model_of(teacher_model(cfg))
    assert schedule == schedule_of(cfg)
    assert dataset == dataset_of(cfg)


@pytest.mark.parametrize(
    'path', [path for path in DISTILLATIONS if path.parent.name == 'maskd'], ids=name
)
def test_tokens_are_those_that_the_first_stage_leaves(path: Path) -> None:
    cfg, text = load(path), header(path)
    for pair, entry in pairs(cfg).items():
        before = first_stage(path, entry.loss.tokens)
        assert before in FIRST_STAGES
        told = re.search(r'^# First: +python tools/train\.py +(\S+)', text, re.M)
        assert told and ROOT / told[1] == before
        learned = load(before)
        last = f'iter_{learned.train_cfg.max_iters}.pth'
        assert entry.loss.tokens == f'work_dirs/{before.stem}/{last}'
        assert learned.model.teacher == cfg.model.teacher
        layer = learned.model.masks[pair].layer
        assert entry.get('layer', 'decode_head.conv_seg') == layer


def test_hints_come_first_and_alone() -> None:
    path = CONFIGS / 'hint' / 'hint-first_frcnn-w32_frcnn-w16_1k_digits-300.py'
    hint, task = stages_of(path)
    assert [pair.loss.type for pair in pairs(hint).values()] == ['HintLoss']
    assert hint.model.task_loss_weights == {'*': 0.0}
    behind = hint.optim_wrapper.paramwise_cfg.custom_keys
    assert behind == {name: {'lr_mult': 0.0} for name in ('rpn_head', 'roi_head')}
    assert task.load_from == '{hint.student}'
    assert [pair.loss.type for pair in pairs(task).values()] == ['KDLoss']
    assert not task.model.get('task_loss_weights')
    assert 'paramwise_cfg' not in task.optim_wrapper
    # The weight falls until the end of the stage.
    ramp = task.model.pairs.logits.loss
    assert ramp.loss_weight.until == task.train_cfg.max_iters
    assert ramp.loss_weight.start == 4 / ramp.temperature**2
    for cfg in (hint, task):
        assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters


@pytest.mark.parametrize(
    'path', [path for path in DISTILLATIONS if path.parent.name == 'mixkd'], ids=name
)
def test_what_is_mixed_is_told_and_logits_are_scaled(path: Path) -> None:
    cfg = load(path)
    (mixing,) = [hook for hook in cfg.custom_hooks if 'MixedBatches' in hook.type]
    assert mixing.share == {'full': 1.0, 'partial': 0.1}[path.stem.split('_')[0][6:]]
    (pair,) = pairs(cfg).values()
    assert pair.target_transform.type == 'StdScalingTransform'
    assert (pair.loss.temperature, pair.loss.loss_weight) == (1.0, 0.9)


@pytest.mark.parametrize(
    ('where', 'seen'), [('resolution', '64x64'), ('noise', 'noise')]
)
def test_without_a_privileged_teacher_the_student_sees_the_same(
    where: str, seen: str, tiny_mosaics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student alone, and plain KD, of one protocol: all but the teacher's image."""
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_mosaics.parent))
    protocol = read_protocol(CONFIGS / 'benchmarks' / f'privileged_{where}_mosaics.py')
    cfgs = {name: load(each.config) for name, each in protocol.recipes.items()}
    samples = {}
    for recipe, cfg in cfgs.items():
        with DefaultScope.overwrite_default_scope('mmseg'):
            data = DATASETS.build(cfg.train_dataloader.dataset)
        random.seed(0)
        np.random.seed(0)
        samples[recipe] = [data[index] for index in range(3)]
    alone = samples.pop('alone')
    for others in samples.values():
        for one, other in zip(alone, others, strict=True):
            assert torch.equal(one['inputs'], other['inputs'])
            labels = (each['data_samples'].gt_sem_seg.data for each in (one, other))
            assert torch.equal(*labels)
    student = cfgs.pop('alone')
    for cfg in cfgs.values():
        assert plain(cfg.model.student) == plain(student.model)
        for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'val_dataloader'):
            assert cfg[key] == student[key]
    # The two kinds of a teacher are taught by one loss.
    privileged, plainly = (
        load(protocol.recipes[name].config) for name in ('privileged', 'kd')
    )
    (one,), (other,) = (pairs(cfg).values() for cfg in (privileged, plainly))
    assert one == other
    teacher = read_config(plainly.model.teacher.cfg)
    assert teacher.train_pipeline == student.train_pipeline
    assert seen in plainly.model.teacher.checkpoint


def test_an_assistant_is_taught_and_teaches() -> None:
    path = CONFIGS / 'takd' / 'takd-w24_frcnn-w32_frcnn-w16_2k_digits-300.py'
    first, last = stages_of(path)
    assert path.stem.startswith(f'takd-w{first.model.student.backbone.base_channels}_')
    assert first.model.teacher.checkpoint.endswith('w32_fpn_4k_digits.safetensors')
    assistant = model_config(last.model.teacher, beside=('checkpoint',))
    for part in ('backbone', 'neck', 'rpn_head', 'roi_head'):
        assert plain(assistant[part]) == plain(first.model.student[part])
    assert last.model.teacher.checkpoint == '{assistant.student}'
    # The same loss in both, and as without the assistant.
    direct = load(CONFIGS / 'kd' / 'kd-logits_frcnn-w32_frcnn-w16_1k_digits-300.py')
    assert first.model.pairs == last.model.pairs == direct.model.pairs
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert first[key] == last[key] == direct[key]


def test_a_dense_assistant_is_taught_and_teaches() -> None:
    path = 'takd/takd-r50_psp-r101_psp-r18_160k_cityscapes-512x1024.py'
    first, last = stages_of(CONFIGS / path)
    direct = load(CONFIGS / 'skd/skd-pixel_psp-r101_psp-r18_80k_cityscapes-512x1024.py')
    assert first.model.teacher == direct.model.teacher
    assistant = model_config(first.model.student)
    assert model_of(assistant) == 'psp-r50'
    taught = model_config(last.model.teacher, beside=('checkpoint',))
    assert plain(taught) == plain(assistant)
    assert last.model.teacher.checkpoint == '{assistant.student}'
    assert last.model.student == direct.model.student
    assert first.model.pairs == last.model.pairs == direct.model.pairs
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert first[key] == last[key] == direct[key]


def assert_pairs_are_told(cfg: Config, method: str, where: str) -> None:
    """Of one loss: `where` is its pairs by name, without numbers."""
    told = [re.sub(r'_\d+$', '', pair) for pair in pairs(cfg)]
    assert list(dict.fromkeys(told)) == where.split('-')
    if method in TRANSFORM_OF:
        transforms = {entry.target_transform.type for entry in pairs(cfg).values()}
        assert transforms == {TRANSFORM_OF[method]}
        return
    expected = LOSS_OF_PAIR.get((method, where), LOSS_OF[method])
    assert expected in {entry.loss.type for entry in pairs(cfg).values()}


def what_is_compared(cfg: Config) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for pair, entry in pairs(cfg).items():
        if entry.loss.type == 'HintLoss':
            adapter = entry.get('adapter')
            told[pair] = adapter and adapter.type
        else:
            told[pair] = entry.loss.get('background_weight', entry.loss.type)
    return told


@pytest.mark.parametrize(
    'path',
    [path for path in FILES if path.stem.startswith(tuple(DETECTORS))],
    ids=name,
)
def test_name_of_a_plain_detector_is_true(path: Path) -> None:
    cfg = load(path)
    kind, backbone, neck, schedule, dataset = path.stem.split('_')
    assert cfg.model.type == DETECTORS[f'{kind}_']
    assert neck == cfg.model.neck.type.lower()
    assert backbone == backbone_of(cfg.model)
    assert schedule == schedule_of(cfg)
    assert dataset == dataset_of(cfg)


@pytest.mark.parametrize(
    'path', [path for path in FILES if path.stem.startswith('pspnet_')], ids=name
)
def test_name_of_a_plain_segmentor_is_true(path: Path) -> None:
    cfg = load(path)
    _, backbone, schedule, dataset = path.stem.split('_')
    assert cfg.model.decode_head.type == 'PSPHead'
    # Behind a stem of stride 4.
    stride = 4 * math.prod(cfg.model.backbone.strides)
    assert backbone == f'{backbone_of(cfg.model)}-d{stride}'
    assert schedule == schedule_of(cfg)
    data, _, size = dataset.rpartition('-')
    assert size == 'x'.join(map(str, cfg.model.data_preprocessor.size))
    # What is cropped has the size in the name of its data.
    assert dataset_of(cfg) in (data, dataset)


@pytest.mark.parametrize(
    'path', [path for path in FILES if path.stem.startswith('depth_')], ids=name
)
def test_name_of_a_plain_depth_estimator_is_true(path: Path) -> None:
    cfg = load(path)
    _, backbone, schedule, dataset = path.stem.split('_')
    assert cfg.model.type == 'DepthEstimator'
    assert backbone == backbone_of(cfg.model)
    assert schedule == schedule_of(cfg)
    data, _, size = dataset.rpartition('-')
    assert size == 'x'.join(map(str, cfg.model.data_preprocessor.size))
    assert dataset_of(cfg) in (data, dataset)


@pytest.mark.host
@pytest.mark.parametrize(
    'path',
    [
        path
        for path in FILES
        if host_base(path)
        and path not in FIRST_STAGES
        and not path.stem.endswith((OWN_SCHEDULE, OWN_MODEL))
    ],
    ids=name,
)
def test_host_base_is_untouched_but_for_the_model(path: Path) -> None:
    base = host_base(path)
    assert base is not None
    cfg, host = load(path), read_config(base)
    assert settings(cfg) == settings(host)
    if path in DISTILLATIONS and alone(path) is None:
        assert plain(cfg.model.student) == plain(host.model)


def test_main_jobs_name_the_student_alone() -> None:
    assert len(MAIN_JOBS) == 2
    assert all(alone(path) for path in MAIN_JOBS)


@pytest.mark.parametrize(
    'path', [path for path in DISTILLATIONS if alone(path)], ids=name
)
def test_distillation_differs_from_its_baseline_in_the_pairs_alone(path: Path) -> None:
    baseline = alone(path)
    assert baseline is not None
    taught, plainly = load(path), load(baseline)
    assert settings(taught) == settings(plainly)
    assert plain(taught.model.student) == plain(plainly.model)
