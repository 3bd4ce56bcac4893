import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hooks.toy import build, same_state, unformatted

from .split import far_apart, split_config

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture(scope='module')
def ends(tmp_path_factory: pytest.TempPathFactory, tiny_digits: Path) -> dict[str, Any]:
    """What each process of each run ended with."""
    folder = tmp_path_factory.mktemp('two')
    command = [sys.executable, '-m', 'tests.distillers.two_processes', str(folder)]
    env = {**os.environ, 'KD_PLUGINS_DATA': str(tiny_digits.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    logs = [path.read_text() for path in folder.glob('log_*')]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    found: dict[str, Any] = {
        path.stem: torch.load(path, weights_only=True) for path in folder.glob('*.pth')
    }
    found['log'] = '\n'.join(
        path.read_text() for path in (folder / 'resumed').rglob('*.log')
    )
    found['files'] = {path.name for path in (folder / 'whole').glob('*.pth')}
    return found


@pytest.mark.parametrize('run', ['whole', 'main'], ids=['toy', 'main job'])
def test_all_processes_end_identical(ends: dict[str, Any], run: str) -> None:
    first, second = ends[f'{run}_0'], ends[f'{run}_1']
    # Statistics of batch norm are each process's own, as in the host.
    trained = first['trained']
    assert any(name.startswith('adapters.') for name in trained)
    assert any(name.startswith('student.backbone.') for name in trained)
    for name in trained:
        assert torch.equal(first['state'][name], second['state'][name]), name
    assert not torch.equal(first['draw'], second['draw'])


def test_critics_stay_the_same_in_all_processes(ends: dict[str, Any]) -> None:
    """Outside DDP's buckets: their gradients are averaged where they step."""
    first, second = (ends[f'segments_{rank}']['state'] for rank in range(2))
    critic = [name for name in first if name.startswith('losses.holistic.critic.')]
    assert critic
    trained = ends['segments_0']['trained']
    for name in {*critic, *trained}:
        assert torch.equal(first[name], second[name]), name


@pytest.mark.parametrize('rank', [0, 1])
def test_each_process_resumes_its_own_random_stream(
    ends: dict[str, Any], rank: int
) -> None:
    assert 'the newest whole checkpoint' in ends['log']
    whole, resumed = ends[f'whole_{rank}'], ends[f'resumed_{rank}']
    for key in ('draw', 'own'):
        assert torch.equal(whole[key], resumed[key])


def test_a_resumed_run_ends_as_the_uninterrupted_one(ends: dict[str, Any]) -> None:
    assert same_state(ends['whole_0']['state'], ends['resumed_0']['state'])


def test_our_wrapper_is_used_and_files_are_written_once(ends: dict[str, Any]) -> None:
    assert ends['whole_0']['wrapper'] == 'DistillDistributedDataParallel'
    assert ends['files'] >= {'iter_10.pth', 'student_iter_10.pth'}


def test_one_image_a_process_trains_as_one_process_with_both(
    ends: dict[str, Any], tmp_path: Path
) -> None:
    with unformatted():
        runner = build(split_config(tmp_path, batch_size=2))
        start = {name: each.clone() for name, each in runner.model.state_dict().items()}
        runner.train()
    whole = runner.model.state_dict()
    assert not far_apart(ends['split_0']['state'], whole)
    # That could fail: the weights went a long way, those of adapters too.
    scalars = runner.message_hub.log_scalars
    for pair in ('hint', 'rcn_cls', 'rcn_reg', 'rpn_cls', 'rpn_reg'):
        assert scalars[f'train/loss_kd_{pair}'].min() > 0
    moved = far_apart(start, whole)
    for part in ('adapters', 'student.backbone', 'student.rpn', 'student.roi'):
        assert max(moved[name] for name in moved if name.startswith(part)) > 1e-3
