"""All processes of a launcher run all stages; the first one decides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.engine.hooks.toy import names, same_state

pytestmark = [pytest.mark.host, pytest.mark.slow]


def test_two_processes_run_the_stages_together(tmp_path: Path) -> None:
    command = [sys.executable, '-m', 'tests.engine.stages.two_processes', str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    logs = [path.read_text()[-2000:] for path in sorted(tmp_path.glob('log_*'))]
    assert done.returncode == 0, '\n'.join([*logs, done.stderr])
    assert done.stdout.split() == ['killed']

    ends = {
        run: [torch.load(tmp_path / f'{run}_{rank}.pth') for rank in range(2)]
        for run in ('whole', 'resumed', 'again')
    }
    assert ends['whole'][0] and same_state(*ends['whole'])
    assert same_state(*ends['resumed'])
    # Killed in the second stage and resumed there: the same end.
    assert same_state(ends['whole'][0], ends['resumed'][0])
    assert ends['again'] == [{}, {}]
    for stage in ('first', 'second'):
        whole, broken = tmp_path / 'whole' / stage, tmp_path / 'broken' / stage
        assert names(whole) == names(broken) != set()
    # One process writes records and the log of the whole.
    told = (tmp_path / 'broken' / 'stages.log').read_text()
    assert told.count("Stage 2 of 2, 'second': starts in") == 1
    assert told.count("Stage 2 of 2, 'second': continues in") == 1
    assert told.count("'first': finished before.") == 2
