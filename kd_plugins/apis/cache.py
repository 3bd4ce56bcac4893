"""Fill a teacher's cache ahead of a training, for ``tools/cache_teacher.py``."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import (
    barrier,
    broadcast_object_list,
    get_rank,
    get_world_size,
)
from mmengine.utils import ProgressBar
from torch.utils.data import DataLoader

from ..datasets import SeededViews
from ..distillers import Distiller
from ..distillers.auxiliary import student_wrapper
from ..engine.amp import enable_amp
from ..engine.stages import last_stage
from ..errors import ConfigError
from ..teachers.cache import Shelf
from .analyze import instead_of_training


@dataclass(frozen=True)
class Filled:
    """What became of the cache of one teacher.

    Attributes:
        teacher: its name.
        items: how many there are.
        before: how many of them were there.
        computed: how many were added, by all processes.
        seconds: that it took.
        content: items, bytes and folder, in words.
    """

    teacher: str
    items: int
    before: int
    computed: int
    seconds: float
    content: str

    def describe(self) -> str:
        """One sentence, with size and hit rate."""
        return (
            f"teacher '{self.teacher}': {self.content}; {self.before:,} were there "
            f'before ({self.before / self.items:.0%}), {self.computed:,} were computed '
            f'in {self.seconds:.0f} s.'
        )


def fill_cache(
    cfg: Config,
    *,
    amp: bool = False,
    work_dir: str | None = None,
    progress: bool = True,
) -> list[Filled]:
    """Let the teachers of a distillation run on each item that their caches lack.

    Every batch is stored at once: a run that is interrupted, or killed, goes on where
    it stood. The processes of a launcher share the work.

    Args:
        cfg: of a distillation, from ``prepare_config``; it is changed.
        amp: mixed precision, as the training will have it: teachers then give others.
        work_dir: for the host's files; default: a temporary folder.
        progress: whether the first process shows a bar.

    Returns: one entry a cached teacher.
    Raises: ConfigError if no teacher has a cache, if the data has no seeded views, and
        if the records would not fit.
    """
    cfg = last_stage(cfg)
    if amp:
        enable_amp(cfg)
    filled: list[Filled] = []
    with ExitStack() as stack:
        cfg.work_dir = work_dir or stack.enter_context(
            TemporaryDirectory(prefix='cache_', ignore_cleanup_errors=True)
        )

        def fill(runner: Any, model: Distiller) -> None:
            filled.extend(_Filling(runner, model, progress).run())

        instead_of_training(cfg, fill)
    return filled


class _Filling:
    """A run that computes what pairs read, and trains nothing."""

    def __init__(self, runner: Any, model: Distiller, progress: bool) -> None:
        self._model = model
        self._caches = {
            name: teacher.cache
            for name, teacher in model.teachers.items()
            if teacher.cache is not None
        }
        self._pairs = [
            pair.name for pair in model.pairs if self._caches.keys() & pair.views.keys()
        ]
        if not self._pairs:
            raise ConfigError(
                'model.teacher: no pair is taught by a teacher with a cache. Set '
                "cache=dict(folder='work_dirs/cache') beside its cfg."
            )
        self._loader = runner.train_loop.dataloader
        if not isinstance(self._loader.dataset, SeededViews):
            raise ConfigError(
                'train_dataloader.dataset must be '
                "dict(type='kd_plugins.SeededViews', dataset=dict(...), views=8, "
                f'seed=0), got a {type(self._loader.dataset).__name__}.'
            )
        self._batch_size: int = runner.cfg.train_dataloader.batch_size
        self._wrapper = student_wrapper(model.losses, runner.optim_wrapper)
        self._progress = progress and get_rank() == 0

    def run(self) -> Iterator[Filled]:
        """Compute what is missing; yields what became of each cache."""
        start = time.monotonic()
        # A first batch, the same for all processes, tells what pairs read.
        first = list(range(min(self._batch_size, len(self._loader.dataset))))
        for _ in self._compute_all(first):
            pass
        missing = self._missing()
        bar = None
        if self._progress and missing:
            bar = ProgressBar(len(missing), file=sys.stdout)
        share = _share_of(missing, self._batch_size)
        for number in self._compute_all(share):
            if bar is not None:
                left = bar.task_num - bar.completed
                bar.update(min(number * get_world_size(), left))
        if bar is not None:
            print()
        barrier()
        for name, shelf in self._shelves():
            left = len(shelf.missing(shelf.used))
            yield Filled(
                name,
                shelf.items,
                shelf.found,
                shelf.items - left - shelf.found,
                time.monotonic() - start,
                shelf.describe(),
            )

    def _shelves(self) -> list[tuple[str, Shelf]]:
        return [
            (name, shelf)
            for name, cache in self._caches.items()
            for shelf in cache.shelves
        ]

    def _missing(self) -> list[int]:
        """Items that a cache lacks, as the first process sees it."""
        lacking = [shelf.missing(shelf.used) for _, shelf in self._shelves()]
        items = [np.unique(np.concatenate(lacking)).tolist()]
        broadcast_object_list(items)
        missing: list[int] = items[0]
        return missing

    def _compute_all(self, items: list[int]) -> Iterator[int]:
        """Run the models on these items, batch by batch; yields their sizes."""
        loader = self._loader
        batches = DataLoader(
            loader.dataset,
            self._batch_size,
            sampler=items,
            num_workers=loader.num_workers if len(items) > self._batch_size else 0,
            collate_fn=loader.collate_fn,
            worker_init_fn=loader.worker_init_fn,
        )
        for batch in batches:
            with self._wrapper.optim_context(self._model), torch.no_grad():
                data = self._model.data_preprocessor(batch, True)
                inputs, samples = data['inputs'], data['data_samples']
                with self._model.step(inputs, samples, pairs=self._pairs) as step:
                    self._model.task_losses(step)
                    with self._model.random_stream.active():
                        self._model.match(step)
            yield len(inputs)


def _share_of(items: Sequence[int], batch_size: int) -> list[int]:
    """What this process computes: whole batches, of which all have as many.

    Layers that exchange numbers between processes would wait for missing batches; and a
    smaller batch may be computed by other kernels.
    """
    if not items:
        return []
    rank, processes = get_rank(), get_world_size()
    whole = batch_size * processes
    filled = list(islice(cycle(items), -(-len(items) // whole) * whole))
    return filled[rank::processes]
