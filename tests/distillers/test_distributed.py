import subprocess
import sys
from typing import Any

import pytest
import torch

from tests.hooks.toy import same_state

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture(scope='module')
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each process of each run ended with."""
    folder = tmp_path_factory.mktemp('two')
    command = [sys.executable, '-m', 'tests.distillers.two_processes', str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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


def test_all_processes_end_identical(ends: dict[str, Any]) -> None:
    first, second = ends['whole_0'], ends['whole_1']
    trained = [key for key in first['state'] if 'running' not in key]
    assert 'adapters.hint.weight' in trained
    assert same_state(
        {key: first['state'][key] for key in trained},
        {key: second['state'][key] for key in trained},
    )
    assert not torch.equal(first['draw'], second['draw'])


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
