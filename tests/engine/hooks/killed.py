"""Trains the toy in processes that are killed, half of them while saving.

    python -m tests.engine.hooks.killed WORK_DIR SEED

Forks a process for each attempt (torch is imported once), kills it at a random moment,
and resumes; the last one ends. Prints when each was killed.
"""

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.fileio import LocalBackend

import kd_plugins  # noqa: F401
from tests.engine.hooks.toy import ToyDistiller, build, toy_config

_STEP_SECONDS = 0.005
_KILLS = 6


def _slow_down(stepping: Path, saving: Path) -> None:
    """Spread the run over time; files say that it steps, and that it saves."""
    put, fsync, forward = LocalBackend.put, os.fsync, ToyDistiller.forward

    def slow_put(self: Any, content: bytes, path: str) -> None:
        saving.touch()
        with open(path, 'wb') as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(_STEP_SECONDS)
        put(self, content, path)

    def slow_fsync(descriptor: int) -> None:
        saving.touch()
        fsync(descriptor)
        time.sleep(_STEP_SECONDS)

    def slow_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        stepping.touch()
        saving.unlink(missing_ok=True)
        time.sleep(_STEP_SECONDS)
        return forward(self, *args, **kwargs)

    mock.patch.object(LocalBackend, 'put', slow_put).start()
    mock.patch.object(ToyDistiller, 'forward', slow_forward).start()
    mock.patch('os.fsync', slow_fsync).start()


def train(work_dir: Path) -> None:
    """Train to the end, from where a former process was killed."""
    cfg = toy_config(work_dir, resume=True)
    with open(os.devnull, 'w') as nowhere, contextlib.redirect_stderr(nowhere):
        build(cfg).train()


def main(work_dir: Path, seed: int) -> None:
    """Kill and resume until the run has ended."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    stepping, saving = work_dir.with_name('stepping'), work_dir.with_name('saving')
    for attempt in range(_KILLS + 1):
        stepping.unlink(missing_ok=True)
        saving.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            if attempt < _KILLS:
                _slow_down(stepping, saving)
            train(work_dir)
            os._exit(0)
        if attempt < _KILLS:
            awaited = saving if attempt % 2 == 0 else stepping
            while not awaited.exists():
                if os.waitpid(child, os.WNOHANG) != (0, 0):
                    return  # it had ended already
                time.sleep(0.001)
            # Within a save: in either file, half written, or about to be renamed.
            time.sleep(rng.uniform(0, 4) * _STEP_SECONDS)
            os.kill(child, signal.SIGKILL)
            print(
                f'killed {"within a save" if saving.exists() else "outside of saves"}'
            )
        os.waitpid(child, 0)


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]))
