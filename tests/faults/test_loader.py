"""A worker of the data loader that fails: the run ends with its message, in time."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.hooks.toy import names

pytestmark = [pytest.mark.host, pytest.mark.slow]
MESSAGES = {
    'raises': r'(?s)worker process \d.*item 17: the file is damaged',
    # The latter where it dies while a batch of its is fetched.
    'killed': r'DataLoader worker \(pid.*(is killed|exited)|Connection (reset|refused)',
    'hangs': r'DataLoader timed out after 5 seconds',
}


@pytest.mark.parametrize('how', MESSAGES)
def test_a_worker_that_fails_ends_the_run(
    tmp_path: Path, how: str, fault: Callable[..., None]
) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'tests.faults.failing_loader', str(tmp_path), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert re.search(MESSAGES[how], done.stderr), done.stderr
    assert all(not name.startswith('.') for name in names(tmp_path))
    fault(f'a loader worker {how}', 'the run ends with a message')
