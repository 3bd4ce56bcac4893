import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

from kd_plugins import ConfigError
from kd_plugins.engine import launch
from kd_plugins.engine.launch import start_cpu_processes, start_processes

LAUNCHERS = {
    'pytorch': {'RANK': '3', 'WORLD_SIZE': '4', 'LOCAL_RANK': '1'},
    'slurm': {'SLURM_PROCID': '3', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '1'},
    'mpi': {
        'OMPI_COMM_WORLD_RANK': '3',
        'OMPI_COMM_WORLD_SIZE': '4',
        'OMPI_COMM_WORLD_LOCAL_RANK': '1',
    },
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the process group was asked for, in an environment without launchers."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(os, 'environ', {'PATH': os.environ['PATH']})
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(
        distributed, 'init_process_group', lambda **given: arguments.update(given)
    )
    return arguments


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_each_launcher_tells_the_ranks(launcher: str, started: dict[str, Any]) -> None:
    os.environ.update(LAUNCHERS[launcher])
    start_cpu_processes(launcher, {'backend': 'nccl', 'timeout': 60, 'port': 1234})
    assert started == {'backend': 'gloo', 'timeout': timedelta(seconds=60)}
    ranks = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')]
    assert ranks == ['3', '4', '1']
    assert os.environ['MASTER_ADDR'] == '127.0.0.1'
    assert os.environ['MASTER_PORT'] == '1234'


@pytest.mark.parametrize('launcher', LAUNCHERS)
def test_says_what_the_launcher_did_not_set(
    launcher: str, started: dict[str, Any]
) -> None:
    missing = next(iter(LAUNCHERS[launcher]))
    with pytest.raises(ConfigError, match=f'variable {missing}, which is not set. St'):
        start_cpu_processes(launcher, {})
    assert not started


def test_slurm_s_first_node_is_the_master(
    tmp_path: Path, started: dict[str, Any]
) -> None:
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\necho "node7\nnode8"\n')
    scontrol.chmod(0o755)
    os.environ.update(LAUNCHERS['slurm'], SLURM_NODELIST='node[7-8]')
    os.environ['PATH'] = f'{tmp_path}:{os.environ["PATH"]}'
    start_cpu_processes('slurm', {})
    assert os.environ['MASTER_ADDR'] == 'node7'
    assert os.environ['MASTER_PORT'] == '29500'
    assert started['backend'] == 'gloo'


def test_an_unknown_launcher(started: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"launcher must be 'none', .*, got 'ray'"):
        start_cpu_processes('ray', {})


def test_an_accelerator_is_left_to_the_host(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, 'get_device', lambda: 'cuda')
    start_cpu_processes('pytorch', {})
    start_cpu_processes('none', {})
    assert not started


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_processes_are_joined_before_there_is_a_runner(
    device: str, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts: list[Any] = []
    monkeypatch.setattr(launch, 'get_device', lambda: device)
    monkeypatch.setattr(distributed, 'is_initialized', lambda: bool(started))
    monkeypatch.setattr(launch, 'init_dist', lambda *given, **cfg: hosts.append(cfg))
    monkeypatch.setattr(launch, 'set_multi_processing', lambda **given: None)
    os.environ.update(LAUNCHERS['pytorch'])
    env_cfg = {'dist_cfg': {'backend': 'nccl', 'timeout': 60}}
    start_processes('none', env_cfg)
    assert not started and not hosts
    start_processes('pytorch', env_cfg)
    # On a CPU by us, otherwise by the host.
    assert bool(started) == (device == 'cpu')
    assert hosts == ([] if device == 'cpu' else [env_cfg['dist_cfg']])
