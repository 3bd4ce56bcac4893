"""A run that is killed at any moment, and resumed, ends as if it had not been."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distillers.main_job import DETECTION, MAIN_JOBS, SEGMENTATION
from tests.engine.hooks.toy import names, same_state
from tests.faults.kills import ANYWHERE, IN_SAVE, ITERATIONS

KILLS = 50
# What a job trains besides the student, and its optimisers.
TRAINED = {
    DETECTION: ('adapters.', {'student'}),
    SEGMENTATION: ('losses.holistic.critic.', {'student', 'holistic_critic'}),
}


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


def _moments(state: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """What each optimiser of a checkpoint remembers, by its name."""
    optimizer = state['optimizer']
    several = {'student': optimizer} if 'state' in optimizer else optimizer
    return {name: each['state'] for name, each in several.items()}


def _assert_same_end(job: str, whole: Path, broken: Path) -> None:
    ours, optimisers = TRAINED[job]
    last = f'iter_{ITERATIONS}.pth'
    assert names(broken) == names(whole) > {last, f'student_{last}'}
    assert not list(broken.glob('.*')), 'something half written is left'
    for name in names(whole):
        states = [_load(folder / name)['state_dict'] for folder in (whole, broken)]
        assert same_state(*states), (broken, name)
        has_ours = any(key.startswith(ours) for key in states[0])
        assert has_ours != name.startswith('student_')
    ends = [_moments(_load(folder / last)) for folder in (whole, broken)]
    assert ends[0].keys() == ends[1].keys() == optimisers
    for name, of_whole in ends[0].items():
        assert of_whole and of_whole.keys() == ends[1][name].keys()
        for index, remembered in of_whole.items():
            assert same_state(remembered, ends[1][name][index])


@pytest.mark.slow
@pytest.mark.host
# of torch 2.4, on any file that is not only weights
@pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning')
def test_fifty_kills_half_of_them_inside_a_save(
    tmp_path: Path,
    tiny_digits: Path,
    tiny_mosaics: Path,
    fault: Callable[..., None],
) -> None:
    command = [sys.executable, '-m', 'tests.faults.kills', str(tmp_path), '7']
    assert tiny_mosaics.parent == tiny_digits.parent
    env = {**os.environ, 'KD_PLUGINS_DATA': str(tiny_digits.parent)}
    done = subprocess.run(
        [*command, str(KILLS)], capture_output=True, text=True, check=False, env=env
    )
    logs = [path.read_text()[-3000:] for path in sorted(tmp_path.glob('*/log_*'))]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures['kills'] == {IN_SAVE: KILLS // 2, ANYWHERE: KILLS // 2}
    assert figures['resumed'] > KILLS // 2
    for job in MAIN_JOBS:
        broken = sorted((tmp_path / job).glob('broken_*'))
        assert broken
        for run in broken:
            _assert_same_end(job, tmp_path / job / 'whole', run)
    for how, number in figures['kills'].items():
        fault(f'SIGKILL {how}', 'resumed; the end is the same bit for bit', number)
