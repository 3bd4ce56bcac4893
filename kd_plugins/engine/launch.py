"""Several processes without a GPU: the host's own start calls ``torch.cuda``."""

import datetime
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from mmengine.device import get_device
from mmengine.dist import init_dist
from mmengine.utils.dl_utils import set_multi_processing
from torch import distributed

from ..errors import ConfigError

_PORT = '29500'  # torch.distributed's own default

# For each launcher, where it tells a process what torch.distributed wants to know.
_VARIABLES = {
    'pytorch': {
        'RANK': 'RANK',
        'WORLD_SIZE': 'WORLD_SIZE',
        'LOCAL_RANK': 'LOCAL_RANK',
    },
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'WORLD_SIZE': 'SLURM_NTASKS',
        'LOCAL_RANK': 'SLURM_LOCALID',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
    },
}
_COMMANDS = {
    'pytorch': 'torchrun --nproc_per_node 2 tools/train.py ... --launcher pytorch',
    'slurm': 'srun --ntasks 2 python tools/train.py ... --launcher slurm',
    'mpi': 'mpirun -np 2 python tools/train.py ... --launcher mpi',
}


def start_processes(launcher: str, env_cfg: Mapping[str, Any]) -> None:
    """Join the processes of a launcher before there is a runner, in the same way.

    Args:
        launcher: 'pytorch', 'slurm', 'mpi', or 'none' for a single process.
        env_cfg: of the config; ``mp_cfg`` and ``dist_cfg`` are used.

    Raises: as :func:`start_cpu_processes`.
    """
    if launcher == 'none' or distributed.is_initialized():
        return
    set_multi_processing(**env_cfg.get('mp_cfg', {}), distributed=True)
    dist_cfg = env_cfg.get('dist_cfg', {})
    start_cpu_processes(launcher, dist_cfg)
    if not distributed.is_initialized():
        init_dist(launcher, **dist_cfg)


def start_cpu_processes(launcher: str, dist_cfg: Mapping[str, Any]) -> None:
    """Join the processes of a launcher over gloo, if this machine has no accelerator.

    Where it has one, or the processes are already joined, nothing happens and the host
    goes its own way.

    Args:
        launcher: 'pytorch', 'slurm', 'mpi', or 'none' for a single process.
        dist_cfg: ``env_cfg.dist_cfg``; ``timeout`` (seconds) and ``port`` are used, the
            ``backend`` is gloo whatever it says.

    Raises: ConfigError if the launcher did not set what it should.
    """
    if launcher == 'none' or get_device() != 'cpu' or distributed.is_initialized():
        return
    if launcher not in _VARIABLES:
        raise ConfigError(
            f"launcher must be 'none', 'pytorch', 'slurm' or 'mpi', got '{launcher}'."
        )
    for name, source in _VARIABLES[launcher].items():
        if source not in os.environ:
            raise ConfigError(
                f"launcher='{launcher}' expects the environment variable {source}, "
                f'which is not set. Start with: {_COMMANDS[launcher]}'
            )
        os.environ[name] = os.environ[source]
    if 'port' in dist_cfg:
        os.environ['MASTER_PORT'] = str(dist_cfg['port'])
    os.environ.setdefault('MASTER_PORT', _PORT)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_node(launcher)
    timeout = dist_cfg.get('timeout')
    distributed.init_process_group(
        backend='gloo',
        timeout=None if timeout is None else datetime.timedelta(seconds=timeout),
    )


def _first_node(launcher: str) -> str:
    nodes = os.environ.get('SLURM_NODELIST')
    if launcher != 'slurm' or nodes is None:
        return '127.0.0.1'
    listed = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes],
        check=True,
        capture_output=True,
        text=True,
    )
    return listed.stdout.split()[0]
