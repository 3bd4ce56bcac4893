"""Copies of a run as it stands before its first step, to be stepped without a trace."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mmengine.logging import MessageHub
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from torch.nn.parallel import DistributedDataParallel

from ..distillers import Distiller
from ..distillers.interface import unwrap
from ..errors import ConfigError
from ..evaluation.gradients.balance import assume_weights
from ..evaluation.gradients.gradients import restore_forwards
from ..schedules import Clock
from ..teachers import Teacher, Teachers

# Of a loader: nothing without workers.
_OF_WORKERS = (
    *('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout'),
    *('num_batch_per_epoch', 'pin_memory'),
)


class UncopiableError(Exception):
    """A run of which no copy can be stepped."""


def why_uncopiable(runner: Runner) -> str | None:
    """Why no copy of a run's model could be stepped; None where one can."""
    model = unwrap(runner.model)
    if is_model_wrapper(runner.model) and not isinstance(
        runner.model, DistributedDataParallel
    ):
        return f'{type(runner.model).__name__} shards the model'
    if not isinstance(model, Distiller):
        return f'a {type(model).__name__} has no teacher'
    if runner.cfg.get('compile'):
        return 'a compiled step is that of the model itself'
    return None


def copy_model(runner: Runner) -> tuple[Distiller, Any]:
    """The model, in ``train()``, and its optimiser, to be stepped as the training will.

    At the moment of it at which most pairs have a weight. The teachers' weights are
    shared.

    Raises: UncopiableError where the copy would step a layer of the original.
    """
    original: Any = unwrap(runner.model)
    # An optimiser writes norms of gradients into the hub of the run's log.
    apart = MessageHub('copy')
    hubs = runner.message_hub, MessageHub.get_current_instance()
    memo = {id(hub): apart for hub in hubs}
    copied = copy.deepcopy((original, runner.optim_wrapper), memo)
    model: Distiller = copied[0]
    model.teachers = Teachers([])  # a copy of a distiller shares them
    try:
        restore_forwards(model)
    except ConfigError as error:
        raise UncopiableError('the forward of a layer was replaced') from error
    if runner.cfg.get('activation_checkpointing'):
        turn_on_activation_checkpointing(model, runner.cfg.activation_checkpointing)
    for name, teacher in original.teachers.items():
        model.teachers[name] = _apart(teacher)
    assume_weights(model.pairs)
    if model.clock is not None:
        model.set_clock(_busiest(model))
    model.train()
    return model, copied[1]


def _apart(teacher: Teacher) -> Teacher:
    """The same model, but no batch that this one sees decides how the other runs."""
    other = copy.copy(teacher)
    other.fast = copy.copy(teacher.fast)
    return other


def _busiest(model: Distiller) -> Clock:
    """The first moment at which most pairs have a weight, of five over the training."""
    clock = model.clock
    assert clock is not None

    def moment(quarter: int) -> Clock:
        iteration, epoch = (
            quarter * ((last or 1) - 1) // 4
            for last in (clock.max_iterations, clock.max_epochs)
        )
        return replace(clock, iteration=iteration, epoch=epoch)

    def active(clock: Clock) -> int:
        for pair in model.pairs:
            pair.set_weight(clock)
        return sum(bool(pair.loss.loss_weight) for pair in model.pairs)

    return max(map(moment, range(5)), key=active)


def copied_batches(runner: Runner) -> Iterator[dict[str, Any]]:
    """Batches as the training gets them, of a copy of its data; on the CPU."""
    cfg = dict(runner.cfg.train_dataloader.items())
    for option in _OF_WORKERS:
        cfg.pop(option, None)
    cfg.update(dataset=runner.train_loop.dataloader.dataset, num_workers=0)
    return iter(runner.build_dataloader(cfg, seed=runner.seed))
