"""Processes of the tests that are forked behave as if python had started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.usefixtures('warm_processes'), pytest.mark.slow]


def run(*arguments: str, **options: str) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **options},
    )


def test_what_is_tested_is_not_imported_yet() -> None:
    """Nor what it registers with; but torch is."""
    code = (
        'import sys; tops = {name.partition(".")[0] for name in sys.modules}; '
        'print(*sorted(tops & {"torch", "mmcv", "mmdet", "mmseg", "kd_plugins"}))'
    )
    assert run('-c', code).stdout.split() == ['torch']


def test_code_modules_and_scripts_have_their_arguments(tmp_path: Path) -> None:
    text = 'import os, sys; print(*sys.argv, os.getcwd(), os.environ["TOLD"])'
    (tmp_path / 'told.py').write_text(text)
    script = str(tmp_path / 'told.py')
    here = os.getcwd()
    for arguments, first in (
        (('-u', '-c', text), '-c'),
        (('-W', 'ignore', '-m', 'told'), script),
        ((script,), script),
    ):
        done = run(*arguments, 'a', 'b c', TOLD='yes', PYTHONPATH=str(tmp_path))
        assert done.stdout == f'{first} a b c {here} yes\n', done.stderr


@pytest.mark.parametrize(
    ('code', 'expected'),
    [
        ('import sys; sys.exit(3)', 3),
        ('import os; os.kill(os.getpid(), 9)', -9),
        ('raise ValueError("why")', 1),
        ('import atexit; atexit.register(print, "at the end")', 0),
    ],
)
def test_it_ends_as_its_code_does(code: str, expected: int) -> None:
    done = run('-c', code)
    assert done.returncode == expected
    assert ('ValueError: why' in done.stderr) == (expected == 1)
    assert ('at the end' in done.stdout) == (expected == 0)


def test_who_kills_it_kills_the_child() -> None:
    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'
    with subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        child = int(program.stdout.readline())
        assert child != program.pid
        program.terminate()
        # Its end of the pipe closes with the child, and not before.
        assert program.stdout.read() == ''
    assert program.returncode == -signal.SIGTERM


def test_what_it_starts_is_forked_too() -> None:
    code = 'import sys; print(sys.executable)'
    assert run('-c', code).stdout.strip() == sys.executable


def test_with_other_options_it_is_python_itself() -> None:
    code = 'import sys; print(sys.flags.no_site, "torch" in sys.modules)'
    assert run('-S', '-c', code).stdout.split() == ['1', 'False']
