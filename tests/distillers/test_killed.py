"""The main job, killed and resumed, ends as if nothing had happened."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hooks.toy import names, same_state

pytestmark = [pytest.mark.host, pytest.mark.slow]


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


# of torch 2.4, on any file that is not only weights
@pytest.mark.filterwarnings('ignore:You are using `torch.load`:FutureWarning')
def test_the_main_job_survives_sigkill_bit_for_bit(
    tmp_path: Path, tiny_digits: Path
) -> None:
    command = [sys.executable, '-m', 'tests.distillers.killed', str(tmp_path), '1']
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
    state = load(whole / 'iter_6.pth')
    assert any(name.startswith('adapters.') for name in state['state_dict'])
    one, other = (
        file['optimizer']['state'] for file in (state, load(broken / 'iter_6.pth'))
    )
    assert one.keys() == other.keys()
    for index, moments in one.items():
        assert same_state(moments, other[index])
