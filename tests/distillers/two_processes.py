"""Trains the toy in two processes over gloo, forked from one that has imported torch.

    python -m tests.distillers.two_processes FOLDER

Leaves ``whole_<rank>.pth`` and ``resumed_<rank>.pth``: what each process ended with.
"""

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import torch

import kd_plugins  # noqa: F401
from tests.hooks.toy import ToyDistiller, build, toy_config


def _train(folder: Path, run: str, rank: int, **changes: Any) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    cfg = toy_config(
        folder / run, experiment_name=run, launcher='pytorch', log_level='INFO', **changes
    )
    # Different streams, so that each must get back its own.
    cfg.randomness = {'seed': 5, 'diff_rank_seed': True}
    runner = build(cfg)
    runner.train()
    model = runner.model.module
    assert isinstance(model, ToyDistiller)
    result = {
        'state': model.state_dict(),
        'draw': torch.rand(3),
        'own': model.random_stream.state_dict()['torch'],
        'buckets': [name for name, _ in runner.model.named_parameters()],
        'wrapper': type(runner.model).__name__,
    }
    torch.save(result, folder / f'{run}_{rank}.pth')


def _fork(folder: Path, run: str, **changes: Any) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    os.environ.update(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            with open(folder / f'log_{run}_{rank}', 'w') as log, contextlib.ExitStack() as s:
                s.enter_context(contextlib.redirect_stdout(log))
                s.enter_context(contextlib.redirect_stderr(log))
                _train(folder, run, rank, **changes)
            os._exit(0)
        children.append(child)
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f'a process of {run} failed')


def main(folder: Path) -> None:
    """An uninterrupted run, and one that stops and is resumed."""
    torch.set_num_threads(1)
    _fork(folder, 'whole')
    _fork(folder, 'resumed')
    # As if it had been stopped: the later checkpoints are not there.
    for path in (folder / 'resumed').glob('*_10.pth'):
        path.unlink()
    _fork(folder, 'resumed', resume=True)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
