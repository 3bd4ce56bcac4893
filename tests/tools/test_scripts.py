"""The shell scripts: their usage, and the commands that they run."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'
SCRIPTS = sorted(TOOLS.glob('*.sh'))


def run(
    script: str, *arguments: str, path: Path | None = None, **environment: str
) -> 'subprocess.CompletedProcess[str]':
    search = os.environ['PATH'] if path is None else f'{path}:{os.environ["PATH"]}'
    kept = {name: os.environ[name] for name in ('HOME',) if name in os.environ}
    return subprocess.run(
        ['bash', str(TOOLS / script), *arguments],
        capture_output=True,
        text=True,
        env={**kept, 'PATH': search, **environment},
    )


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """``python`` and ``srun`` that print their arguments, one a line."""
    for name in ('python', 'srun'):
        stub = tmp_path / name
        stub.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@" "$PYTHONPATH"\n')
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def test_there_are_three() -> None:
    names = [script.name for script in SCRIPTS]
    assert names == ['dist_test.sh', 'dist_train.sh', 'slurm_train.sh']


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_is_valid_strict_and_executable(script: Path) -> None:
    subprocess.run(['bash', '-n', str(script)], check=True)
    assert 'set -euo pipefail' in script.read_text()
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
@pytest.mark.parametrize('arguments', [(), ('only one',)])
def test_too_few_arguments_print_the_usage(
    script: Path, arguments: tuple[str, ...]
) -> None:
    done = run(script.name, *arguments)
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.startswith(f'Usage: tools/{script.name} ')
    assert (
        f'Example: {"GPUS=16 " * script.name.startswith("slurm")}tools' in done.stderr
    )


def test_dist_train_starts_torchrun(stubs: Path) -> None:
    done = run('dist_train.sh', 'a b.py', '2', '--amp', 'x y', path=stubs)
    _, *lines = done.stdout.splitlines()
    assert lines == [
        *('-m', 'torch.distributed.run', '--nnodes', '1', '--node_rank', '0'),
        *('--master_addr', '127.0.0.1', '--master_port', '29500'),
        *('--nproc_per_node', '2', str(TOOLS / 'train.py'), 'a b.py'),
        *('--launcher', 'pytorch', '--amp', 'x y', str(TOOLS.parent)),
    ]


def test_dist_test_takes_several_machines_from_the_environment(stubs: Path) -> None:
    done = run(
        'dist_test.sh',
        *('c.py', 'c.pth', '4', '--tta'),
        path=stubs,
        NNODES='2',
        NODE_RANK='1',
        MASTER_ADDR='first',
        PORT='1234',
        PYTHONPATH='mine',
    )
    _, *lines = done.stdout.splitlines()
    assert lines == [
        *('-m', 'torch.distributed.run', '--nnodes', '2', '--node_rank', '1'),
        *('--master_addr', 'first', '--master_port', '1234'),
        *('--nproc_per_node', '4', str(TOOLS / 'test.py'), 'c.py', 'c.pth'),
        *('--launcher', 'pytorch', '--tta', f'{TOOLS.parent}:mine'),
    ]


@pytest.mark.parametrize('extra', ['', '--time 1:00 --exclusive'])
def test_slurm_train_starts_srun(stubs: Path, extra: str) -> None:
    done = run(
        'slurm_train.sh',
        *('gpu', 'job', 'c.py', 'w', '--amp'),
        path=stubs,
        GPUS='16',
        SRUN_ARGS=extra,
    )
    _, *lines = done.stdout.splitlines()
    assert lines == [
        *('--partition', 'gpu', '--job-name', 'job', '--gres', 'gpu:8'),
        *('--ntasks', '16', '--ntasks-per-node', '8', '--cpus-per-task', '5'),
        *('--kill-on-bad-exit=1', *extra.split(), 'python', '-u'),
        *(str(TOOLS / 'train.py'), 'c.py', '--work-dir', 'w', '--launcher', 'slurm'),
        *('--amp', str(TOOLS.parent)),
    ]
