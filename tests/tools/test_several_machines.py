"""Two groups of processes, as on two machines, train together by tools/train.py."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distillers.main_job import DETECTION, short

pytestmark = [
    pytest.mark.host,
    pytest.mark.slow,
    pytest.mark.usefixtures('warm_processes'),
]
TOOLS = Path(__file__).parents[2] / 'tools'
SECONDS = 400  # a group that waits for the other in vain is ended


@pytest.fixture
def config(tmp_path: Path, tiny_digits: Path) -> Path:
    """Two iterations of the embedded main job, one image a process."""
    cfg = short(DETECTION, tmp_path / 'run')
    cfg.train_cfg.update(max_iters=2)
    cfg.train_dataloader.batch_size = 1
    cfg.log_level = 'INFO'
    path = tmp_path / 'config.py'
    cfg.dump(path)
    return path


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def together(commands: Sequence[tuple[list[str], dict[str, str]]], data: Path) -> None:
    """Run commands side by side; all must succeed."""
    env = {**os.environ, 'KD_PLUGINS_DATA': str(data), 'GLOO_SOCKET_IFNAME': 'lo'}
    env['PATH'] = f'{Path(sys.executable).parent}:{env["PATH"]}'
    groups = [
        subprocess.Popen(
            command,
            env={**env, **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        for command, own in commands
    ]
    try:
        outputs = [group.communicate(timeout=SECONDS)[0] for group in groups]
    finally:
        for group in groups:
            if group.poll() is None:
                os.killpg(group.pid, signal.SIGKILL)
    assert [group.returncode for group in groups] == [0, 0], '\n'.join(outputs)


def check(work_dir: Path) -> None:
    """One run of two processes, whose files were written once."""
    for name in ('iter_2', 'student_iter_2'):
        assert (work_dir / f'{name}.pth').is_file()
    saved = torch.load(work_dir / 'iter_2.pth', weights_only=False)
    assert len(saved['random_state']['processes']) == 2
    (log,) = work_dir.glob('2*/*.log')
    assert 'GPU number: 2' in log.read_text()  # the host's words for processes


def torchrun(port: str, address: str) -> list[str]:
    return [
        *(sys.executable, '-m', 'torch.distributed.run'),
        *('--nnodes', '2', '--nproc-per-node', '1'),
        *('--rdzv-backend', 'c10d', '--rdzv-endpoint', f'127.0.0.1:{port}'),
        *('--rdzv-id', 'two', '--local-addr', address),
    ]


def test_torchrun_joins_two_addresses(
    config: Path, tiny_digits: Path, tmp_path: Path
) -> None:
    port = free_port()
    train = [str(TOOLS / 'train.py'), str(config), '--launcher', 'pytorch']
    commands: list[tuple[list[str], dict[str, str]]] = [
        ([*torchrun(port, address), *train, '--work-dir', str(tmp_path / 'run')], {})
        for address in ('127.0.0.1', '127.0.0.2')
    ]
    together(commands, tiny_digits.parent)
    check(tmp_path / 'run')


def test_dist_train_on_each_of_two_machines(
    config: Path, tiny_digits: Path, tmp_path: Path
) -> None:
    port = free_port()
    script = ['bash', str(TOOLS / 'dist_train.sh'), str(config), '1']
    commands = [
        (
            [*script, '--work-dir', str(tmp_path / 'run')],
            {'NNODES': '2', 'NODE_RANK': rank, 'PORT': port},
        )
        for rank in '01'
    ]
    together(commands, tiny_digits.parent)
    check(tmp_path / 'run')


SRUN = """#!{python}
'''Stands in for srun and its nodes: one process a node, both on this machine.'''
import os, subprocess, sys

start = sys.argv.index('python')
options = sys.argv[1:start]
count = int(options[options.index('--ntasks') + 1])
assert options[options.index('--ntasks-per-node') + 1] == '1', options
ranks = [
    dict(
        SLURM_PROCID=str(rank),
        SLURM_NTASKS=str(count),
        SLURM_LOCALID='0',
        SLURM_NODELIST='node[1-2]',
    )
    for rank in range(count)
]
processes = [
    subprocess.Popen(sys.argv[start:], env=dict(os.environ, **rank)) for rank in ranks
]
sys.exit(max(process.wait() for process in processes))
"""
SCONTROL = """#!/bin/sh
test "$*" = "show hostnames node[1-2]" && printf '127.0.0.1\\n127.0.0.2\\n'
"""


def test_slurm_starts_one_process_on_each_of_two_nodes(
    config: Path, tiny_digits: Path, tmp_path: Path
) -> None:
    programs: dict[str, Any] = {
        'srun': SRUN.format(python=sys.executable),
        'scontrol': SCONTROL,
    }
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    script = ['bash', str(TOOLS / 'slurm_train.sh'), 'gpu', 'job']
    env = {
        **{name: os.environ[name] for name in os.environ if name != 'MASTER_ADDR'},
        'PATH': f'{folder}:{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'GPUS': '2',
        'GPUS_PER_NODE': '1',
        'MASTER_PORT': free_port(),
        'KD_PLUGINS_DATA': str(tiny_digits.parent),
        'GLOO_SOCKET_IFNAME': 'lo',
    }
    done = subprocess.run(
        [*script, str(config), str(tmp_path / 'run')],
        capture_output=True,
        text=True,
        env=env,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check(tmp_path / 'run')
