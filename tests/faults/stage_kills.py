"""Kills a chain of three stages again and again, within stages and between them.

    python -m tests.faults.stage_kills FOLDER SEED NUMBER

Each life is forked from this process, which has imported everything, and ends by
SIGKILL; the next one resumes. Each chain is killed at a random moment within its first
stage, then at one between its first and its second, and so on; the last one after so
many kills lives to its end. Leaves in FOLDER the chain that nothing disturbed and the
broken ones; prints what was done, as JSON.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend

import kd_plugins.apis  # noqa: F401  (imported once, and not in every life)
from kd_plugins.engine.stages.chain import Chain
from tests.engine.hooks.toy import ToyDistiller
from tests.engine.stages.toys import page, run

STAGES: dict[str, Any] = {
    'first': {},
    'second': {'options': {'load_from': '{first.best}', 'randomness.seed': 6}},
    'third': {'options': {'load_from': '{second.checkpoint}', 'randomness.seed': 7}},
}
IN_STAGE, AFTER = 'in a stage', 'after a stage'
KILLS = list(itertools.product(STAGES, (IN_STAGE, AFTER)))
# Before and after each, a moment at which a life may end.
_TRAINING = ((ToyDistiller, 'forward'), (LocalBackend, 'put'), (torch, 'save'))
_RECORDS = ((os, 'replace'), (os, 'fsync'), (Path, 'mkdir'), (Path, 'write_text'))
# A moment later than all there are is the end of the stage, or of what is between two.
_MOMENTS = {IN_STAGE: 40, AFTER: 14}


def config(work_dir: Path) -> Config:
    """Three stages of four iterations."""
    return page(work_dir, STAGES)


class _Death:
    """Ends this process in a stage, or after it and before the next has begun.

    Args:
        name: of the stage.
        how: ``IN_STAGE`` or ``AFTER``.
        last: number of the moment, from 1.
    """

    def __init__(self, name: str, how: str, last: int) -> None:
        self._last, self._counted, self._armed = last, 0, False
        opens, finishes, closes = Chain.open, Chain.finish, Chain.close

        def open_stage(chain: Any, stage: Any) -> Any:
            task = opens(chain, stage)
            self._end()
            self._armed = how == IN_STAGE and stage.name == name and task is not None
            return task

        def finish(chain: Any, stage: Any, runner: Any) -> None:
            self._end()
            self._armed = how == AFTER and stage.name == name
            finishes(chain, stage, runner)

        def close(chain: Any) -> None:
            self._end()
            closes(chain)

        mock.patch.multiple(Chain, open=open_stage, finish=finish, close=close).start()
        for owner, function in _TRAINING if how == IN_STAGE else _RECORDS:
            around = self._around(getattr(owner, function))
            mock.patch.object(owner, function, around).start()

    def _around(self, function: Callable[..., Any]) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self._moment()
            result = function(*args, **options)
            self._moment()
            return result

        return call

    def _moment(self) -> None:
        self._counted += self._armed
        if self._counted == self._last:
            self._end()

    def _end(self) -> None:
        if self._armed:
            os.kill(os.getpid(), signal.SIGKILL)


def _fork(work_dir: Path, *death: Any) -> bool:
    """One life of a chain; whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        log = work_dir.with_name(f'log_{work_dir.name}')
        with (
            log.open('a') as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            if death:
                _Death(*death)
            run(config(work_dir), resume='auto')
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError('a chain failed, see its log')
    return False


def main(folder: Path, seed: int, number: int) -> None:
    """A whole chain, then broken ones."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    _fork(folder / 'whole')
    kills: Counter[str] = Counter()
    for chain in itertools.count():
        work_dir = folder / f'broken_{chain}'
        for stage, how in KILLS[: number - sum(kills.values())]:
            killed = _fork(work_dir, stage, how, rng.randint(1, _MOMENTS[how]))
            kills[f'{how}, the {stage}'] += killed
        _fork(work_dir)
        if sum(kills.values()) >= number:
            break
    print(json.dumps(kills))


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
