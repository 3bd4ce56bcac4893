"""Two processes over gloo, of which the second fails; what becomes of the first.

    python -m tests.faults.ranks FOLDER            # each fault, both ranks forked
    torchrun --nproc_per_node 2 -m tests.faults.ranks FOLDER FAULT

Prints, as JSON, of each fault how the first rank ended, and after how many seconds.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import kd_plugins.engine  # noqa: F401
from tests.engine.hooks.toy import ToyDistiller, build, toy_config

# Of a collective operation, in seconds; the default is half an hour.
TIMEOUT = 5
_PATIENCE = 90  # seconds until the first rank counts as one that hangs


def _raise() -> None:
    raise RuntimeError('the second rank is out of memory')


FAULTS: dict[str, Callable[[], Any]] = {
    'killed': lambda: os.kill(os.getpid(), signal.SIGKILL),
    'raises': _raise,
    'hangs': lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


def train(folder: Path, fault: str) -> None:
    """One rank of a run whose second rank fails in its fourth iteration."""
    forward, calls = ToyDistiller.forward, iter(range(1000))

    def failing(self: Any, *args: Any, **options: Any) -> Any:
        if next(calls) == 3 and os.environ['RANK'] == '1':
            FAULTS[fault]()
        return forward(self, *args, **options)

    cfg = toy_config(folder / fault, launcher='pytorch')
    cfg.env_cfg = {'dist_cfg': {'timeout': TIMEOUT}}
    cfg.default_hooks.checkpoint.save_best = None
    cfg.update(dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')))
    with mock.patch.object(ToyDistiller, 'forward', failing):
        build(cfg).train()


def _forked(folder: Path, fault: str, rank: int) -> int:
    child = os.fork()
    if child == 0:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        with (
            open(folder / f'log_{fault}_{rank}', 'w') as log,
            contextlib.redirect_stdout(log),
            contextlib.redirect_stderr(log),
        ):
            try:
                train(folder, fault)
            except BaseException as error:
                print(f'{type(error).__name__}: {error}', flush=True)
                os._exit(1)
        os._exit(0)
    return child


def _try(folder: Path, fault: str) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    os.environ.update(WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    first, second = (_forked(folder, fault, rank) for rank in range(2))
    start = time.monotonic()
    ended = 0
    while not ended and time.monotonic() - start < _PATIENCE:
        time.sleep(0.05)
        ended, status = os.waitpid(first, os.WNOHANG)
    seconds = time.monotonic() - start
    for child in (second, *(() if ended else (first,))):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return {
        'exit': os.waitstatus_to_exitcode(status) if ended else None,
        'seconds': seconds,
        'message': (folder / f'log_{fault}_0').read_text().splitlines()[-1],
    }


if __name__ == '__main__':
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        train(Path(sys.argv[1]), sys.argv[2])
    else:
        print(json.dumps({each: _try(Path(sys.argv[1]), each) for each in FAULTS}))
