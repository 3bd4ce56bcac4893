"""Trains two stages in two processes over gloo, forked from one that imported torch.

    python -m tests.engine.stages.two_processes FOLDER

To the end; then again, where both are killed in the second stage, after a checkpoint,
and started anew with resume; then a third time, when nothing is left to be done.
"""

import os
import signal
import sys
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config

import kd_plugins.apis  # noqa: F401
from tests.distillers.two_processes import _fork
from tests.engine.hooks.toy import ToyDistiller
from tests.engine.stages.toys import TWO, page, run


def config(work_dir: Path) -> Config:
    """Both processes draw of their own, so that each must get back its states."""
    cfg = page(work_dir, TWO, **{'randomness.diff_rank_seed': True})
    cfg.launcher = 'pytorch'
    # Processes that wait for one that died end soon.
    cfg.env_cfg = {'dist_cfg': {'timeout': 5}}
    return cfg


def train(cfg: Config, path: Path) -> None:
    """Train all stages; save what the last model holds, where it ran."""
    runner = run(cfg, resume=cfg.pop('resumes', None))
    # Statistics of batch norm are each process's own, as in the host.
    model = None if runner is None else runner.model.module
    torch.save(dict(model.named_parameters()) if model is not None else {}, path)


def resumed(work_dir: Path) -> Config:
    cfg = config(work_dir)
    cfg.resumes = 'auto'
    return cfg


def train_killed(cfg: Config, path: Path) -> None:
    """Die in the eighth step of all: the fourth of the second stage."""
    forward, calls = ToyDistiller.forward, iter(range(100))

    def dying(self: ToyDistiller, inputs: object, mode: str = 'tensor') -> object:
        if mode == 'loss' and next(calls) == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(self, inputs, mode)

    with mock.patch.object(ToyDistiller, 'forward', dying):
        train(cfg, path)


def main(folder: Path) -> None:
    """The chains, one after the other."""
    torch.set_num_threads(1)
    _fork(folder, 'whole', lambda: config(folder / 'whole'), train)
    try:
        _fork(folder, 'killed', lambda: config(folder / 'broken'), train_killed)
    except RuntimeError:
        print('killed', flush=True)
    _fork(folder, 'resumed', lambda: resumed(folder / 'broken'), train)
    _fork(folder, 'again', lambda: resumed(folder / 'broken'), train)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
