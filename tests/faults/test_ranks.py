"""A process that fails ends the others, in bounded time and with a message."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.ranks import TIMEOUT

pytestmark = [pytest.mark.host, pytest.mark.slow]
MESSAGES = {
    'killed': 'RuntimeError: .*(Connection (reset|closed) by peer|closed connection)',
    'raises': 'RuntimeError: .*(Connection (reset|closed) by peer|closed connection)',
    'hangs': f'RuntimeError: .*Timed out waiting {TIMEOUT}000ms',
}


def test_the_other_rank_ends_with_a_message(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    command = [sys.executable, '-m', 'tests.faults.ranks', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout.splitlines()[-1])
    assert ends.keys() == MESSAGES.keys()
    for name, end in ends.items():
        assert end['exit'] == 1, end  # not None: it would hang
        assert re.search(MESSAGES[name], end['message'])
        # The files before are there: a resumed run continues from the last.
        assert list((tmp_path / name).glob('iter_2.pth'))
        fault(f'one of two ranks {name}', 'the other ends with a message in seconds')


def test_torchrun_ends_all_ranks_when_one_is_killed(
    tmp_path: Path, fault: Callable[..., None]
) -> None:
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--nproc_per_node', '2', '-m', 'tests.faults.ranks']
    done = subprocess.run(
        [*command, str(tmp_path), 'killed'],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1
    assert 'Signal 9 (SIGKILL) received by PID' in done.stderr
    fault('one of two ranks killed under torchrun', 'torchrun ends both, and says whom')
