"""The main jobs, killed and resumed, end as if nothing had happened."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.hooks.toy import names, same_state

from .main_job import DETECTION, MAIN_JOBS, SEGMENTATION

pytestmark = [pytest.mark.host, pytest.mark.slow]


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


def moments(state: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """What each optimiser of a checkpoint remembers, by its name."""
    optimizer = state['optimizer']
    several = {'student': optimizer} if 'state' in optimizer else optimizer
    return {name: each['state'] for name, each in several.items()}


# of torch 2.4, on any file that is not only weights
@pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning')
@pytest.mark.parametrize(
    ('job', 'ours', 'optimisers'),
    [
        (DETECTION, 'adapters.', {'student'}),
        (SEGMENTATION, 'losses.holistic.critic.', {'student', 'holistic_critic'}),
    ],
    ids=MAIN_JOBS,
)
def test_a_main_job_survives_sigkill_bit_for_bit(
    tmp_path: Path,
    tiny_digits: Path,
    tiny_mosaics: Path,
    job: str,
    ours: str,
    optimisers: set[str],
) -> None:
    command = [sys.executable, '-m', 'tests.distillers.killed', job, str(tmp_path), '1']
    assert tiny_mosaics.parent == tiny_digits.parent
    env = {**os.environ, 'KD_PLUGINS_DATA': str(tiny_digits.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    logs = [path.read_text() for path in sorted(tmp_path.glob('log_*'))]
    assert done.stdout.splitlines() == [
        'whole: exit 0',
        'within a save: SIGKILL',
        'random moment: SIGKILL',
        'the rest: exit 0',
    ], '\n'.join([*logs, done.stderr])

    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    assert names(broken) == names(whole) > {'iter_6.pth', 'student_iter_6.pth'}
    assert not list(broken.glob('.*'))  # nothing half written is left
    for name in names(whole):
        one, other = load(whole / name)['state_dict'], load(broken / name)['state_dict']
        assert same_state(one, other), name
        assert any(key.startswith(ours) for key in one) != name.startswith('student_')
    ends = [moments(load(folder / 'iter_6.pth')) for folder in (whole, broken)]
    assert ends[0].keys() == ends[1].keys() == optimisers
    for name, one in ends[0].items():
        other = ends[1][name]
        assert one and one.keys() == other.keys()
        for index, remembered in one.items():
            assert same_state(remembered, other[index])
