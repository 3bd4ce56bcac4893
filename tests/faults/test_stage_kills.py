"""Stages that are killed anywhere, and resumed, end as if they had not been."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.hooks.toy import names, same_state
from tests.faults.stage_kills import AFTER, IN_STAGE, STAGES

pytestmark = [
    pytest.mark.host,
    # of torch 2.4, on any file that is not only weights
    pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning'),
]


def killed(folder: Path, seed: int, number: int) -> dict[str, int]:
    """Kill chains so often; how often where. All end as the one that was left alone."""
    command = [sys.executable, '-m', 'tests.faults.stage_kills', str(folder)]
    command += [str(seed), str(number)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    logs = [path.read_text()[-3000:] for path in sorted(folder.glob('log_*'))]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    for broken in folder.glob('broken_*'):
        assert not list(broken.rglob('.*')), 'something half written is left'
        assert not list(broken.glob('*.old_*')), 'a stage began anew'
        for stage in STAGES:
            assert_same_end(folder / 'whole' / stage, broken / stage)
    kills: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    assert sum(kills.values()) == number
    return kills


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


def assert_same_end(whole: Path, broken: Path) -> None:
    assert names(broken) == names(whole) > {'iter_4.pth', 'student_iter_4.pth'}
    for name in names(whole):
        one, other = load(whole / name), load(broken / name)
        assert same_state(one['state_dict'], other['state_dict']), (broken, name)
    for index, one in load(whole / 'iter_4.pth')['optimizer']['state'].items():
        assert same_state(one, load(broken / 'iter_4.pth')['optimizer']['state'][index])


@pytest.mark.slow
def test_three_kills(tmp_path: Path) -> None:
    assert killed(tmp_path, seed=3, number=3) == {
        f'{IN_STAGE}, the first': 1,
        f'{AFTER}, the first': 1,
        f'{IN_STAGE}, the second': 1,
    }


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path, fault: Callable[..., None]) -> None:
    kills = killed(tmp_path, seed=11, number=20)
    assert len(kills) == 2 * len(STAGES)  # in each, and after each
    assert min(kills.values()) >= 3
    said = 'resumed; the end is the same bit for bit'
    fault('SIGKILL in a stage, or between two', said, sum(kills.values()))
