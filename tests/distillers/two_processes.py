"""Trains in two processes over gloo, forked from one that has imported torch.

    python -m tests.distillers.two_processes FOLDER

The toy to its end, then again, interrupted and resumed; both main jobs, whose data
``KD_PLUGINS_DATA`` names; pairs without a teacher; and one image a process of a batch
of two. Leaves ``<run>_<rank>.pth``: what each process ended with.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config

import kd_plugins  # noqa: F401
from tests.distillers.main_job import DETECTION, SEGMENTATION, short
from tests.distillers.split import (
    split_alone,
    split_config,
    split_kinds,
    split_peers,
    split_segments,
)
from tests.engine.hooks.toy import build, toy_config, unformatted


def _train(cfg: Config, path: Path) -> None:
    cfg.launcher = 'pytorch'
    cfg.log_level = 'INFO'
    runner = build(cfg)
    runner.train()
    model = runner.model.module
    result = {
        'state': model.state_dict(),
        'trained': [name for name, each in model.named_parameters()],
        'draw': torch.rand(3),
        'own': model.random_stream.state_dict().get('torch'),  # of peers none
        'wrapper': type(runner.model).__name__,
    }
    torch.save(result, path)


def _apart(cfg: Config) -> Config:
    # Different streams, so that each must get back its own.
    cfg.randomness = {'seed': 5, 'diff_rank_seed': True}
    return cfg


def _fork(
    folder: Path,
    run: str,
    make_cfg: Callable[[], Config],
    train: Callable[[Config, Path], None] = _train,
) -> None:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    os.environ.update(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
            with (
                open(folder / f'log_{run}_{rank}', 'w') as log,
                contextlib.redirect_stdout(log),
                contextlib.redirect_stderr(log),
                unformatted(),
            ):
                train(make_cfg(), folder / f'{run}_{rank}.pth')
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise RuntimeError(f'a process of {run} failed')


def main(folder: Path) -> None:
    """The runs, one after the other."""
    torch.set_num_threads(1)
    _fork(folder, 'whole', lambda: _apart(toy_config(folder / 'whole')))
    _fork(folder, 'resumed', lambda: _apart(toy_config(folder / 'resumed')))
    # As if it had been stopped: the later checkpoints are not there.
    for path in (folder / 'resumed').glob('*_10.pth'):
        path.unlink()
    _fork(
        folder, 'resumed', lambda: _apart(toy_config(folder / 'resumed', resume=True))
    )
    for run, job in (('detection', DETECTION), ('segmentation', SEGMENTATION)):
        _fork(folder, run, lambda run=run, job=job: _apart(short(job, folder / run)))
    _fork(folder, 'alone', lambda: _apart(split_alone(folder / 'alone', 1)))
    for run, split in (
        *(('boxes', split_config), ('segments', split_segments)),
        *(('kinds', split_kinds), ('peers', split_peers)),
    ):
        _fork(folder, run, lambda run=run, split=split: split(folder / run, 1))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
