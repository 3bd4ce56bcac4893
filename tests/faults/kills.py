"""Kills short main jobs again and again, half of the times inside a save.

    python -m tests.faults.kills FOLDER SEED NUMBER

Both main jobs in turn: each life of a run is forked from this process, which has
imported everything, and ends by SIGKILL; the next one resumes. A run that reaches its
end is followed by a new one. ``KD_PLUGINS_DATA`` names the data. Leaves in FOLDER, by
job, the run that nothing disturbed and the broken ones; prints what was done, as JSON.
"""

import contextlib
import io
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend

import kd_plugins.engine  # noqa: F401  (imported once, and not in every life)
from kd_plugins.engine.files import is_whole, student_file
from tests.distillers.main_job import MAIN_JOBS, RAMPED, short
from tests.engine.hooks.toy import build, unformatted

ITERATIONS = 5
# Of one save and what follows it, about; a kill in the first leaves the older file.
_MOMENTS = 40
_SUFFIXES = ('.pth', '.part')
IN_SAVE, ANYWHERE = 'inside a save', 'at any moment'


def _config(job: str, work_dir: Path) -> Config:
    cfg = short(job, work_dir, resume=True)
    cfg.train_cfg.update(max_iters=ITERATIONS, val_interval=2)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=2)
    cfg.model.pairs[RAMPED[job]].loss.loss_weight = {
        'type': 'LinearRamp',
        'start': 0.0,
        'end': 1.0,
        'until': ITERATIONS,
    }
    return cfg


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_in_a_save(last: int) -> None:
    """Die at the ``last``-th moment of writing, publishing and deleting files.

    Before and after each operation, and with half of a file written.
    """
    moments = itertools.count(1)

    def moment() -> None:
        if next(moments) == last:
            _die()

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *args: Any, **options: Any) -> Any:
            # Of a file, or of a folder or file that is open; not of the host's own.
            counts = isinstance(target, int) or Path(target).suffix in _SUFFIXES
            if counts:
                moment()
            result = function(target, *args, **options)
            if counts:
                moment()
            return result

        return call

    def write(content: bytes, file: Any) -> None:
        file.write(content[: len(content) // 2])
        file.flush()
        moment()
        file.write(content[len(content) // 2 :])
        file.flush()
        moment()

    def put(self: Any, content: bytes, path: Any) -> None:
        with open(path, 'wb') as file:
            write(content, file)

    torch_save = torch.save

    def save(content: Any, target: Any, *args: Any, **options: Any) -> None:
        if isinstance(target, io.BytesIO):  # the host's, which it puts into a file
            torch_save(content, target, *args, **options)
            return
        written = io.BytesIO()
        torch_save(content, written, *args, **options)
        write(written.getvalue(), target)

    mock.patch.object(LocalBackend, 'put', put).start()
    mock.patch('torch.save', save).start()
    for name in ('fsync', 'replace', 'remove', 'unlink'):
        mock.patch(f'os.{name}', around(getattr(os, name))).start()


def _fork(job: str, work_dir: Path, prepare: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        prepare()
        log = work_dir.with_name(f'log_{work_dir.name}')
        with (
            log.open('a') as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
            unformatted(),
        ):
            build(_config(job, work_dir)).train()
        os._exit(0)
    return child


def _killed(child: int) -> bool:
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError('a run failed, see its log')
    return False


def _life(job: str, work_dir: Path, how: str, rng: random.Random, whole: float) -> bool:
    """One process of a run; whether it was killed before its end."""
    if how == IN_SAVE:
        last = rng.randint(1, _MOMENTS)
        return _killed(_fork(job, work_dir, lambda: _die_in_a_save(last)))
    child = _fork(job, work_dir, lambda: None)
    time.sleep(rng.uniform(0, whole))
    os.kill(child, signal.SIGKILL)  # of one that has ended, nothing
    return _killed(child)


def _check_files(folder: Path) -> None:
    """What stands under a checkpoint's name is whole, and the student's beside it."""
    for path in folder.glob('*.pth'):
        if not is_whole(path):
            raise RuntimeError(f'{path} is not whole')
        if path.name.startswith('iter_') and not Path(student_file(str(path))).exists():
            raise RuntimeError(f'{path} has no student beside it')


def _undisturbed(job: str, folder: Path) -> float:
    start = time.monotonic()
    if _killed(_fork(job, folder / job / 'whole', lambda: None)):
        raise RuntimeError('the whole run was killed by somebody else')
    return time.monotonic() - start


def main(folder: Path, seed: int, number: int) -> None:
    """Whole runs, then broken ones until so many kills have hit."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    for job in MAIN_JOBS:
        (folder / job).mkdir()
    seconds = {job: _undisturbed(job, folder) for job in MAIN_JOBS}
    kills: Counter[str] = Counter()
    resumed = runs = 0
    while sum(kills.values()) < number:
        job = MAIN_JOBS[runs % 2]
        work_dir = folder / job / f'broken_{runs}'
        running = True
        while running:
            hits = sum(kills.values())
            how = (IN_SAVE, ANYWHERE)[hits % 2]
            resumed += any(work_dir.glob('iter_*.pth'))
            if hits < number:
                running = _life(job, work_dir, how, rng, seconds[job])
                kills[how] += running
            else:
                running = _killed(_fork(job, work_dir, lambda: None))
            _check_files(work_dir)
        runs += 1
    print(json.dumps({'kills': kills, 'runs': runs, 'resumed': resumed}))


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
