"""Every config builds, trains two iterations and validates."""

import copy
import math
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from kd_plugins.apis.train import train
from kd_plugins.engine.stages import read_stages
from kd_plugins.registry import MODELS
from tests.configs.made_data import (
    make_ade20k,
    make_bccd,
    make_camvid,
    make_cityscapes,
    make_coco,
    make_nyu,
    make_voc,
)
from tests.configs.reduce import reduced
from tests.configs.tree import (
    DISTILLATIONS,
    MAIN_JOBS,
    PEERS,
    RUNS,
    STAGED,
    first_stage,
    host_base,
    is_auto,
    load,
    name,
    pairs,
    stages_of,
)
from tests.engine.hooks.toy import build

pytestmark = pytest.mark.fast_teacher


@pytest.fixture(scope='session')
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data/`` of each format that a config reads; read only."""
    root = tmp_path_factory.mktemp('made')
    for make in (
        *(make_coco, make_voc, make_cityscapes, make_ade20k, make_camvid),
        *(make_nyu, make_bccd),
    ):
        make(root)
    return root


@pytest.fixture
def data_at_hand(
    made_data: Path,
    tiny_mosaics: Path,
    tiny_planes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All data where the configs look for it: nothing of theirs is changed."""
    monkeypatch.chdir(made_data)
    # They lie side by side, the digits too.
    assert tiny_mosaics.parent == tiny_planes.parent
    monkeypatch.setenv('KD_PLUGINS_DATA', str(tiny_planes.parent))


def small_runner(path: Path, small: Config, work_dir: Path) -> Any:
    if 'checkpoints' in (small.model.get('teacher') or {}):
        make_checkpoints(small.model.teacher, small.default_scope, work_dir)
    small.work_dir = str(work_dir)
    # The hosts keep loggers, hubs and visualizers by name, for the whole process.
    small.experiment_name = f'{path.stem}_{os.getpid()}_{work_dir.name}'
    small.visualizer.name = small.experiment_name
    small.log_level = 'WARNING'
    return build(small)


def make_checkpoints(teacher: ConfigDict, scope: str, folder: Path) -> None:
    """Give a route's model random weights for each of its checkpoints."""
    folder.mkdir(exist_ok=True)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(copy.deepcopy(teacher.model))
    for number, _ in enumerate(teacher.checkpoints):
        model.init_weights()
        path = folder / f'anchor_{number}.pth'
        torch.save(model.state_dict(), path)
        teacher.checkpoints[number] = str(path)


def learn_before(path: Path, asked: dict[str, Any], work_dir: Path) -> None:
    """What a distillation takes from a first stage, whose two iterations are run."""
    files = [entry.loss.get('tokens') for entry in asked.values()]
    stages = {first_stage(path, file) for file in files if file is not None}
    if not stages:
        return
    (stage,) = stages
    small_runner(stage, reduced(load(stage)), work_dir / 'tokens').train()
    for entry in asked.values():
        entry.loss.tokens = str(work_dir / 'tokens' / 'iter_2.pth')


def of_peers(path: Path, runner: Any) -> list[tuple[str, Any]]:
    """What learns in a run of peers, by name."""
    return list(runner.model.learners.items()) if path in PEERS else []


def marks(path: Path) -> list[pytest.MarkDecorator]:
    """Of a folder one is tried by `make test`, the others are among the long tests."""
    first = next(each for each in RUNS if each.parent == path.parent)
    if path in MAIN_JOBS:
        return [pytest.mark.host]
    return [] if path == first else [pytest.mark.slow]


@pytest.mark.parametrize(
    'path',
    [
        pytest.param(path, id=name(path), marks=marks(path))
        for path in RUNS
        if path not in STAGED
    ],
)
@pytest.mark.usefixtures('data_at_hand')
def test_trains_two_iterations_and_validates(path: Path, tmp_path: Path) -> None:
    cfg = load(path)
    asked = pairs(cfg) if path in DISTILLATIONS else {}
    learn_before(path, asked, tmp_path)
    runner = small_runner(path, reduced(cfg), tmp_path)
    runner.train()
    assert runner.iter == 2
    logged = runner.message_hub.log_scalars
    if path in DISTILLATIONS and is_auto(cfg):
        asked |= ConfigDict(runner.model.choice.pairs)
        assert asked
    distilled = {key for key in logged if 'loss_kd_' in key}
    assert distilled == {f'train/loss_kd_{pair}' for pair in asked} | {
        f'train/{peer}.loss_kd_{pair.name}'
        for peer, learner in of_peers(path, runner)
        for pair in learner.pairs
    }
    assert bool(distilled) == ((path in DISTILLATIONS and bool(asked)) or path in PEERS)
    # What a critic logs: its objective, the penalty, its scores of each side.
    critics = [pair for pair, entry in asked.items() if 'Holistic' in entry.loss.type]
    judged = {
        f'train/critic_{pair}{value}'
        for pair in critics
        for value in ('', '_penalty', '_student', '_teacher')
    }
    assert judged <= logged.keys()
    for key in distilled | judged:
        values, _ = logged[key].data
        assert len(values) == 2
        assert all(math.isfinite(value) for value in values)
    ends = ('mAP', 'mIoU', 'rmse')
    assert [key for key in logged if key.startswith('val/') and key.endswith(ends)]


@pytest.mark.slow  # some take five seconds, and all are one proof
@pytest.mark.parametrize('path', STAGED, ids=name)
@pytest.mark.usefixtures('data_at_hand')
def test_stages_hand_on_what_the_next_one_takes(path: Path, tmp_path: Path) -> None:
    """Two iterations of each; only the first teacher's weights are random.

    The hosts' models are narrow here, each stage's in the same way; test_tree.py shows
    that a teacher is the student of the stage before.
    """
    cfg = load(path)
    cfg.work_dir = str(tmp_path)
    trainings = [cfg.stages[each.name] for each in read_stages(cfg) if each.trains]
    for stage, whole in zip(trainings, stages_of(path), strict=True):
        small = reduced(whole)
        teacher = whole.model.get('teacher')
        changes = {
            'train_cfg': small.train_cfg,
            'train_dataloader': small.train_dataloader,
            'custom_hooks': small.get('custom_hooks'),
            'log_level': 'WARNING',
        }
        if whole.get('val_dataloader') is not None:
            changes['val_dataloader'] = small.val_dataloader
        taken = teacher is not None and teacher.checkpoint.startswith('{')
        if host_base(path):
            changes['model.student'] = ConfigDict(small.model.student, _delete_=True)
            model = small.model.teacher.model
            changes['model.teacher'] = dict(_delete_=True, model=model)
            if taken:
                changes['model.teacher']['checkpoint'] = teacher.checkpoint
        if teacher is not None and not taken:
            changes['model.teacher.checkpoint'] = None
            changes['model.teacher.allow_random'] = True
        stage['options'] = {**(stage.get('options') or {}), **changes}
    with mock.patch.object(Runner, '_log_env'):
        runner = train(cfg)
    assert runner.iter == 2
    told = (tmp_path / 'stages.log').read_text()
    takes = [each.text.strip('{}') for each in read_stages(cfg)[-1].takes]
    assert takes and all(each in told for each in takes)
    logged = runner.message_hub.log_scalars
    asked = {f'train/loss_kd_{pair}' for pair in pairs(stages_of(path)[-1])}
    assert {key for key in logged if key.startswith('train/loss_kd_')} == asked
    for key in asked:
        assert all(math.isfinite(value) for value in logged[key].data[0])


@pytest.mark.host
@pytest.mark.parametrize('path', MAIN_JOBS, ids=name)
@pytest.mark.usefixtures('data_at_hand')
def test_main_job_is_tested_without_a_file_of_the_teacher(
    path: Path, tmp_path: Path
) -> None:
    cfg = load(path)
    small = reduced(cfg)
    small.model.teacher = cfg.model.teacher
    small.model.teacher.checkpoint = 'nowhere.pth'
    metrics = small_runner(path, small, tmp_path).test()
    assert [key for key in metrics if key.endswith(('mAP', 'mIoU'))]
