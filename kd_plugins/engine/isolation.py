"""One training after another in one process, each as in a process of its own."""

import gc
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.utils import ManagerMixin

from ..random_stream import random_state_kept


@contextmanager
def isolated() -> Iterator[None]:
    """What a run leaves in the process is gone after the block; it finds nothing.

    - What the hosts keep by name for the whole process: loggers, message hubs,
      visualizers, scopes. Two runs that start within a second have the same names, and
      configs name their visualizer ``'visualizer'``: its scalars would be written into
      the folder of the first run.
    - Switches of cuDNN and of determinism.
    - The states of the default generators. They then have gone on by a draw: two runs
      without a seed begin differently.
    """
    outer = {kind: kind._instance_dict for kind in _managers(ManagerMixin)}
    switches = _switches()
    for kind in outer:
        kind._instance_dict = OrderedDict()
    try:
        with random_state_kept():
            yield
    finally:
        _close_logs()
        for kind in _managers(ManagerMixin):  # also of classes that came meanwhile
            kind._instance_dict = outer.get(kind, OrderedDict())
        _set_switches(*switches)
        np.random.random()  # the host draws its seed from numpy


def free_memory() -> None:
    """Free what only refers to itself, as runner, model and hooks; on the GPU too."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _managers(kind: Any) -> Iterator[Any]:
    yield kind
    for below in kind.__subclasses__():
        yield from _managers(below)


def _close_logs() -> None:
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.close()


def _switches() -> tuple[bool, bool, bool, bool]:
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_switches(
    benchmark: bool, deterministic: bool, algorithms: bool, warn_only: bool
) -> None:
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.deterministic = deterministic
    torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
