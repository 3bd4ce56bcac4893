"""Stages run one after the other, and each as if it were alone."""

import weakref
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from kd_plugins.apis.train import prepare_config, train
from kd_plugins.errors import ConfigError
from tests.engine.hooks.toy import build, names, same_state, unformatted
from tests.engine.test_pure_python_config import DISTILLATION, STUDENT

from .toys import TWO, log, page, quick, run, run_alone

pytestmark = [
    pytest.mark.host,
    # The original family's own way of reading checkpoints.
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]
ONE: dict[str, Any] = {'only': {}}


def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=False)
    return loaded


def same_files(one: Path, other: Path) -> bool:
    """Whether two runs left the same checkpoints, bit for bit, and there are some."""
    assert names(one) == names(other) != set()
    return all(
        same_state(*(content(folder / name)['state_dict'] for folder in (one, other)))
        for name in names(one)
    )


def test_one_stage_is_the_plain_run(tmp_path: Path) -> None:
    run(page(tmp_path / 'chain', ONE))
    run_alone(page(tmp_path / 'plain', ONE))
    stage, plain = tmp_path / 'chain' / 'only', tmp_path / 'plain'
    assert same_files(stage, plain)
    last = [content(folder / 'iter_4.pth') for folder in (stage, plain)]
    assert last[0].keys() == last[1].keys()
    drawn = [each['random_state']['processes'][0]['default'] for each in last]
    assert torch.equal(drawn[0]['torch'], drawn[1]['torch'])
    assert drawn[0]['python'] == drawn[1]['python']


def test_a_stage_takes_the_file_it_names_and_is_as_if_it_were_alone(
    tmp_path: Path,
) -> None:
    before = dict(Visualizer._instance_dict)  # of tests that ran in this process
    runner = run(page(tmp_path / 'chain', TWO))
    assert runner.iter == 6
    first, second = tmp_path / 'chain' / 'first', tmp_path / 'chain' / 'second'
    (best,) = first.glob('student_best_acc_iter_*.pth')
    assert runner.cfg.load_from == str(best)
    # Nothing is left for the caller.
    assert Visualizer._instance_dict == before
    assert DefaultScope.get_current_instance() is None
    changes = {'randomness.seed': 6, 'train_cfg.max_iters': 6, 'load_from': str(best)}
    run_alone(page(tmp_path / 'alone', ONE, **changes))
    assert same_files(second, tmp_path / 'alone')
    text = log(tmp_path / 'chain')
    assert (
        'first    this page  4 iterations  -           best to second  starts' in text
    )
    assert (
        'second   this page  6 iterations  first.best  -               starts' in text
    )
    assert f"Stage 2 of 2, 'second': starts in {second}.\n  load_from = {best}" in text
    # Each has its own log and its own scalars, though both are named the same.
    for folder in (first, second):
        (scalars,) = folder.glob('*/vis_data/scalars.json')
        assert '"acc"' in scalars.read_text()


def test_stages_of_other_outputs_take_what_they_name(tmp_path: Path) -> None:
    second = {
        'options': {
            'model': {'_delete_': True, 'type': 'ToyStudent'},
            'load_from': '{first.student}',
        }
    }
    third = {'options': {'load_from': '{second.student}'}}
    stages = {'first': {}, 'second': second, 'third': third}
    runner = run(page(tmp_path, stages, **{'train_cfg.max_iters': 2}))
    # Of a plain model the student is the model.
    assert runner.cfg.load_from == str(tmp_path / 'second' / 'iter_2.pth')
    student = tmp_path / 'first' / 'student_iter_2.pth'
    assert f'load_from = {student}' in log(tmp_path)


def test_two_stages_without_a_seed_begin_differently(tmp_path: Path) -> None:
    stages = {'first': {}, 'second': {}}
    run(page(tmp_path, stages, **{'randomness.seed': None, 'train_cfg.max_iters': 2}))
    files = [tmp_path / name / 'iter_2.pth' for name in stages]
    assert len({content(file)['meta']['seed'] for file in files}) == 2


ALIVE: list[weakref.ref[Any]] = []


@HOOKS.register_module()
class ToyAliveHook(Hook):
    """Counts what of earlier trainings still takes memory."""

    def before_run(self, runner: Any) -> None:
        assert not [ref for ref in ALIVE if ref() is not None]
        ALIVE.extend([weakref.ref(runner), weakref.ref(runner.model)])


def test_the_memory_of_a_stage_is_free_before_the_next(tmp_path: Path) -> None:
    ALIVE.clear()
    changes = {'custom_hooks': [{'type': 'ToyAliveHook'}], 'train_cfg.max_iters': 2}
    with mock.patch.object(Runner, '_log_env'), unformatted():
        train(page(tmp_path, {'first': {}, 'second': {}}, **changes))
    assert len(ALIVE) == 4


def test_hooks_of_a_caller_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='takes no hooks for a config with stages'):
        train(page(tmp_path, ONE), hooks=[Hook()])


@pytest.mark.parametrize('kind', ['DistillRunner', 'DistillFlexibleRunner'])
def test_a_runner_refuses_stages(tmp_path: Path, kind: str) -> None:
    cfg = page(tmp_path, TWO, runner_type=f'kd_plugins.{kind}')
    with pytest.raises(
        ConfigError,
        match=r'stages: these trainings \(first, second\) run one after the other by '
        r'tools/train.py of kd_plugins, .*nor by the tools of the hosts',
    ):
        build(cfg)


def test_stages_of_a_config_in_pure_python(tmp_path: Path) -> None:
    stages = {'first': {}, 'second': {'options': {'load_from': '{first.student}'}}}
    (tmp_path / 'student.py').write_text(STUDENT)
    path = tmp_path / 'page.py'
    path.write_text(f'{DISTILLATION}\nstages = {stages!r}\n')
    cfg = prepare_config(path, work_dir=str(tmp_path / 'work'))
    with quick():
        runner = train(cfg)
        assert runner.cfg.load_from.endswith('/first/student_iter_2.pth')
        assert train(prepare_config(path, work_dir=cfg.work_dir), resume='auto') is None
