"""What a hook looks at before a training begins."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.runner import Runner

from ...random_stream import RandomStream

_OF_WORKERS = (
    *('prefetch_factor', 'persistent_workers', 'timeout', 'multiprocessing_context'),
)


def training_batches(runner: Runner, number: int, seed: int) -> Iterator[Any]:
    """The first batches of a training, once through its data at most.

    From a loader of their own, since a sampler that stops midway gives the training
    nothing more. What is drawn for them, and by whoever reads them, is the same each
    time, and shifts no draw of the training.

    Args:
        runner: before its training.
        number: of batches of a process.
        seed: of what is drawn.
    """
    loader = dict(runner.cfg.train_dataloader)
    for key in _OF_WORKERS:
        loader.pop(key, None)
    loader['num_workers'] = 0
    with RandomStream(seed).active():
        built = Runner.build_dataloader(loader, seed=seed)
        yield from islice(built, min(number, len(built)))
