"""What large trainings switch on, in two processes: equal weights, the right ones."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.distillers.split import far_apart
from tests.distillers.tiny import faster_rcnn
from tests.engine.hooks.toy import build, same_state, unformatted

from .many_processes import RUNS

pytestmark = [pytest.mark.host, pytest.mark.slow]
SHARDED = ('fsdp', 'nested')
CLIPPED = 'clipped_fsdp'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all runs left what they ended with."""
    folder = tmp_path_factory.mktemp('many')
    command = [sys.executable, '-m', 'tests.engine.many_processes', str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    logs = [path.read_text() for path in folder.glob('log_*')]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    return folder


def end(folder: Path, run: str, rank: int = 0) -> dict[str, Any]:
    """What a process of a run ended with."""
    ended: dict[str, Any] = torch.load(folder / f'{run}_{rank}.pth', weights_only=True)
    names = [name.removeprefix('module.') for name in ended['state']]
    ended['state'] = dict(zip(names, ended['state'].values(), strict=True))
    return ended


def alone(run: str, work_dir: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights before and after the same run in one process, both images a batch."""
    with unformatted():
        runner = build(RUNS[run](work_dir, 2))
        start = {name: each.clone() for name, each in runner.model.state_dict().items()}
        runner.train()
    return start, runner.model.state_dict()


@pytest.mark.parametrize('run', [run for run in RUNS if run not in (*SHARDED, CLIPPED)])
def test_both_processes_end_equal(folder: Path, run: str) -> None:
    first, second = (end(folder, run, rank) for rank in range(2))
    assert same_state(first['state'], second['state'])
    assert first['wrapper'] == 'DistillDistributedDataParallel'


@pytest.mark.parametrize('run', ['layers', 'with_cp', 'ddp', *SHARDED])
def test_it_ends_bit_for_bit_as_without(folder: Path, run: str) -> None:
    # Checkpointed layers compute the same twice, shards are the same numbers elsewhere.
    assert same_state(end(folder, run)['state'], end(folder, 'plain')['state'])


def test_accumulated_gradients_are_those_of_one_process(
    folder: Path, tmp_path: Path
) -> None:
    start, whole = alone('accumulated', tmp_path)
    state = end(folder, 'accumulated')['state']
    assert not far_apart(state, whole)
    assert max(far_apart(start, state).values()) > 1e-3
    # Two steps of four batches: that is another training.
    assert far_apart(state, end(folder, 'plain')['state'])


def test_shards_are_clipped_by_the_norm_of_all_gradients(folder: Path) -> None:
    clipped = end(folder, 'clipped')['state']
    assert not far_apart(end(folder, CLIPPED)['state'], clipped)
    apart = far_apart(clipped, end(folder, 'plain')['state'])
    for part in ('student.backbone', 'adapters'):
        assert max(apart[name] for name in apart if name.startswith(part)) > 1e-3


def test_bfloat16_ends_near_one_process_of_bfloat16(
    folder: Path, tmp_path: Path
) -> None:
    start, whole = alone('mixed', tmp_path)
    state = end(folder, 'mixed')['state']
    assert all(value.dtype != torch.bfloat16 for value in state.values())
    moved = torch.cat([(state[name] - start[name]).flatten() for name in start])
    apart = torch.cat([(state[name] - whole[name]).flatten() for name in start])
    assert apart.norm() < 0.05 * moved.norm()


def test_the_teacher_is_outside_the_shards(folder: Path) -> None:
    plain = end(folder, 'plain')
    for run in SHARDED:
        halves = [end(folder, run, rank) for rank in range(2)]
        # Student and adapters in two halves; of the teacher each has all, unchanged.
        assert abs(halves[0]['shard'] - plain['shard'] / 2) < 10
        for half in halves:
            assert half['wrapper'] == 'MMFullyShardedDataParallel'
            assert same_state(half['teacher'], plain['teacher'])
    assert end(folder, 'fsdp')['units'] == 1 < end(folder, 'nested')['units']


@pytest.mark.parametrize('run', ['ddp', *SHARDED])
def test_checkpoints_of_strategies_are_whole(folder: Path, run: str) -> None:
    names = {path.name for path in (folder / run).glob('*.pth')}
    assert names == {'iter_3.pth', 'student_iter_3.pth'}
    saved = torch.load(folder / run / 'student_iter_3.pth', weights_only=False)
    student = build_student()
    student.load_state_dict(saved['state_dict'])
    state = end(folder, run)['state']
    for name, value in student.state_dict().items():
        assert torch.equal(value, state[f'student.{name}'])
    assert 'strategy' not in saved['meta']['cfg']


def test_a_sharded_run_is_resumed_exactly(folder: Path) -> None:
    assert (folder / 'resumed' / 'iter_10.pth').exists()
    whole, resumed = end(folder, 'whole'), end(folder, 'resumed')
    assert whole['state'] and same_state(whole['state'], resumed['state'])
    assert 'iter_8.pth' in (folder / 'log_resumed_0').read_text()


def build_student() -> Any:
    """The detector by itself, as the host builds it."""
    from mmengine.registry import MODELS

    return MODELS.build(faster_rcnn())
