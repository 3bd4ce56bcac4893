"""The tools in processes of their own: what a mistake prints, and how it ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TRAIN = str(ROOT / 'tools' / 'train.py')


def run(*command: str, folder: Path) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, 'PYTHONPATH': f'{ROOT}:{folder}', 'OMP_NUM_THREADS': '1'},
    )


def test_a_mistake_prints_its_message(tmp_path: Path) -> None:
    done = run(TRAIN, 'no.py', folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("config: there is no config 'no.py', looked from")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ''


def test_a_bug_prints_its_traceback(tmp_path: Path) -> None:
    (tmp_path / 'broken.py').write_text('undefined\n')
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['broken'])\n")
    done = run(TRAIN, 'config.py', folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith('Traceback')
    assert done.stderr.endswith("NameError: name 'undefined' is not defined\n")


def test_torchrun_sees_that_its_processes_failed(tmp_path: Path) -> None:
    done = run(
        *('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2'),
        *(TRAIN, 'no.py', '--launcher', 'pytorch'),
        folder=tmp_path,
    )
    assert done.returncode == 1
    assert "config: there is no config 'no.py'" in done.stderr
    assert 'exitcode  : 2' in done.stderr
    # torchrun's own, of its own process
    assert 'read_config' not in done.stderr
