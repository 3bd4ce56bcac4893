"""Trains a short main job once to its end, and once killed on the way, twice.

    python -m tests.distillers.killed JOB FOLDER SEED

The first time within a save, with half of the file on disk, the second at a random
moment; each time by SIGKILL, after which a new process resumes. ``KD_PLUGINS_DATA``
names the data. Prints what became of each process.
"""

import contextlib
import itertools
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend

import kd_plugins  # noqa: F401
from kd_plugins.distillers import Distiller
from tests.distillers.main_job import RAMPED, short
from tests.engine.hooks.toy import build, unformatted

RAMP = {'type': 'LinearRamp', 'start': 0.0, 'end': 1.0, 'begin': 0, 'until': 6}


def _config(job: str, work_dir: Path) -> Config:
    cfg = short(job, work_dir, resume=True)
    cfg.train_cfg.max_iters = 6
    cfg.model.pairs[RAMPED[job]].loss.loss_weight = RAMP
    return cfg


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_within_a_save() -> None:
    put = LocalBackend.put

    def half_put(self: Any, content: bytes, path: str) -> None:
        if 'iter_4' not in str(path):
            put(self, content, path)
            return
        Path(path).write_bytes(content[: len(content) // 2])
        _die()

    mock.patch.object(LocalBackend, 'put', half_put).start()


def _die_at_a_random_moment(rng: random.Random) -> None:
    # Not by time alone: it would not be known whether the run still lasts.
    forward, calls = Distiller.forward, itertools.count(1)
    last, timer = rng.randint(1, 5), threading.Timer(rng.uniform(0, 0.2), _die)

    def counted_forward(self: Any, *args: Any, **options: Any) -> Any:
        if next(calls) == last:
            timer.start()
        return forward(self, *args, **options)

    mock.patch.object(Distiller, 'forward', counted_forward).start()


def _run(
    job: str, name: str, work_dir: Path, prepare: Callable[[], None] | None = None
) -> None:
    child = os.fork()
    if child == 0:
        if prepare is not None:
            prepare()
        log = work_dir.with_name(f'log_{name.replace(" ", "_")}')
        with (
            log.open('w') as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
            unformatted(),
        ):
            build(_config(job, work_dir)).train()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    ended = signal.Signals(status).name if os.WIFSIGNALED(status) else f'exit {status}'
    print(f'{name}: {ended}', flush=True)


def main(job: str, folder: Path, seed: int) -> None:
    """The run that is whole, and the one in three parts."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    _run(job, 'whole', folder / 'whole')
    broken = folder / 'broken'
    _run(job, 'within a save', broken, _die_within_a_save)
    _run(job, 'random moment', broken, lambda: _die_at_a_random_moment(rng))
    _run(job, 'the rest', broken)


if __name__ == '__main__':
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
