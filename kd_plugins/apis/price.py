"""What a distillation costs, measured on its first batches before it starts."""

import copy
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from torch.nn.parallel import DistributedDataParallel

from ..benchmark.stopwatch import synchronise
from ..distillers import Distiller
from ..distillers.auxiliary import student_wrapper
from ..distillers.interface import unwrap
from ..errors import ConfigError
from ..evaluation.gradients.balance import assume_weights
from ..evaluation.gradients.gradients import restore_forwards
from ..random_stream import random_state_kept
from ..schedules import Clock
from ..teachers import Teacher, build_teachers

STUDENT, DISTILLED = 'student', 'distilled'
_BATCHES = 3
_ROUNDS = 5
_ENOUGH = 30.0  # seconds of measuring, after which two rounds do
_MIB = 2**20
# Of a loader: nothing without workers.
_OF_WORKERS = (
    *('persistent_workers', 'prefetch_factor', 'multiprocessing_context', 'timeout'),
    *('num_batch_per_epoch', 'pin_memory'),
)


class UncopiableError(Exception):
    """A run of which no copy can be stepped."""


@dataclass(frozen=True)
class Price:
    """Time of a step with and without the teacher, and the teacher's memory.

    Attributes:
        seconds: of each timed step, by 'student' and 'distilled'; the two took turns.
        batch_size: images a step, on each process.
        iterations: of the run that are left.
        parameters: of the teachers, number.
        weights: bytes of their weights.
        peaks: bytes of GPU memory at most, in each of the two steps; empty on a CPU.
    """

    seconds: dict[str, list[float]]
    batch_size: int
    iterations: int
    parameters: int
    weights: int
    peaks: dict[str, int]

    @property
    def medians(self) -> dict[str, float]:
        """Median seconds of a step, by 'student' and 'distilled'."""
        return {name: statistics.median(times) for name, times in self.seconds.items()}

    @property
    def ratio(self) -> float:
        """Median over the rounds of: distilled step / student's step."""
        pairs = zip(self.seconds[DISTILLED], self.seconds[STUDENT], strict=True)
        return statistics.median(step / alone for step, alone in pairs)

    def hours(self, part: str) -> float:
        """Of all iterations that are left, of 'student' or 'distilled'."""
        return self.iterations * self.medians[part] / 3600

    def __str__(self) -> str:
        medians = self.medians
        lines = [
            f'Price (medians of {len(self.seconds[STUDENT])} steps in turn, on batches '
            f'of {self.batch_size}; without loading of data, validation and saving):',
            f'  a step: {medians[STUDENT]:.3f} s alone, {medians[DISTILLED]:.3f} s '
            f'distilled, {self.ratio:.2f} times as long',
            f'  {self.iterations:,} iterations: {_hours(self.hours(STUDENT))} alone, '
            f'{_hours(self.hours(DISTILLED))} distilled',
            f'  the teacher: {self.parameters / 1e6:.2f} M parameters, '
            f'{self.weights / _MIB:.1f} MiB',
        ]
        if self.peaks:
            lines.append(
                f'  GPU memory at most: {self.peaks[STUDENT] / _MIB:,.0f} MiB alone, '
                f'{self.peaks[DISTILLED] / _MIB:,.0f} MiB distilled'
            )
        return '\n'.join(lines)


class PriceHook(Hook):
    """Measures the price before the first iteration, and logs it.

    The training does not notice: copies of model, optimiser and data are stepped, and
    all random states stay.

    Args:
        notes: sentences to log before it.
        dry_run: whether the run ends there.

    Attributes:
        price: what was measured; None where nothing was.
    """

    # After everything that prepares the model for its first step.
    priority = 'LOWEST'

    def __init__(self, notes: Sequence[str] = (), dry_run: bool = False) -> None:
        self.price: Price | None = None
        self._notes = tuple(notes)
        self._dry_run = dry_run

    def before_run(self, runner: Runner) -> None:
        if self._dry_run:
            # Replaces the training, on this loop only.
            runner.train_loop.run = lambda: runner.call_hook('before_train')

    def before_train(self, runner: Runner) -> None:
        for note in self._notes:
            runner.logger.warning(note)
        reason = _unmeasurable(runner)
        if reason is None:
            try:
                self.price = measure_price(runner)
            except UncopiableError as error:
                reason = str(error)
            except torch.cuda.OutOfMemoryError:
                reason = 'a copy of the model does not fit into the memory beside it'
                torch.cuda.empty_cache()
        runner.logger.info(
            f'The price was not measured: {reason}.'
            if self.price is None
            else str(self.price)
        )


def measure_price(runner: Runner) -> Price:
    """Time steps of a run that has not begun, without a trace in it.

    Args:
        runner: of a distillation, built, with its train loop.

    Raises: UncopiableError for a model or data that cannot be copied; whatever a step
        of the training would raise.
    """
    with random_state_kept():
        before = _allocated()
        try:
            model, wrapper = _copied(runner)
            batches = list(islice(_loader(runner), _BATCHES))
        except TypeError as error:  # of what holds a file or a lock
            raise UncopiableError(
                f'a copy of model or data failed ({error})'
            ) from error
        alone = student_wrapper(model.losses, wrapper)
        seconds: dict[str, list[float]] = {STUDENT: [], DISTILLED: []}
        peaks: dict[str, int] = {}
        begun = time.perf_counter()
        for number in range(1 + _ROUNDS):
            for part, stepped, optimiser in (
                (STUDENT, model.student, alone),
                (DISTILLED, model, wrapper),
            ):
                # A preprocessor changes what it is given.
                batch = copy.deepcopy(batches[number % len(batches)])
                _reset_peak()
                synchronise()
                start = time.perf_counter()
                stepped.train_step(batch, optimiser)
                synchronise()
                if number:  # the first loads the teacher, and tries every pair
                    seconds[part].append(time.perf_counter() - start)
                peaks[part] = _peak() - before
            if number > 1 and time.perf_counter() - begun > _ENOUGH and _is_alone():
                break
        _reset_peak()
        parameters, weights = _size(model.teachers.values())
        peaks[STUDENT] -= weights
    return Price(
        seconds,
        len(batches[0]['inputs']),
        runner.max_iters - runner.iter,
        parameters,
        weights,
        peaks if torch.cuda.is_available() else {},
    )


def _unmeasurable(runner: Runner) -> str | None:
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


def _copied(runner: Runner) -> tuple[Distiller, Any]:
    """The model and its optimiser, as they stand before the first step, with teachers.

    Teachers are shared by copies of a distiller, and remember what they saw: here they
    are new ones.
    """
    original: Any = unwrap(runner.model)
    # An optimiser writes norms of gradients into the hub of the run's log.
    hub = MessageHub.get_current_instance()
    memo = {id(hub): MessageHub('price')}
    copied = copy.deepcopy((original, runner.optim_wrapper), memo)
    model: Distiller = copied[0]
    try:
        restore_forwards(model)
    except ConfigError as error:
        raise UncopiableError('the forward of a layer was replaced') from error
    if runner.cfg.get('activation_checkpointing'):
        turn_on_activation_checkpointing(model, runner.cfg.activation_checkpointing)
    teachers = build_teachers(
        copy.deepcopy(runner.cfg.model.teacher), model.student.data_preprocessor
    )
    model.teachers = teachers
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    if metainfo.get('classes') is not None:
        model.set_class_names([str(name) for name in metainfo['classes']])
    assume_weights(model.pairs)
    if model.clock is not None:
        model.set_clock(_busiest(model))
    model.train()
    return model, copied[1]


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


def _loader(runner: Runner) -> Iterator[dict[str, Any]]:
    """Batches as the training gets them, of a copy of its data."""
    cfg = dict(runner.cfg.train_dataloader.items())
    for option in _OF_WORKERS:
        cfg.pop(option, None)
    cfg.update(dataset=runner.train_loop.dataloader.dataset, num_workers=0)
    return iter(runner.build_dataloader(cfg, seed=runner.seed))


def _size(teachers: Iterable[Teacher]) -> tuple[int, int]:
    """Number of parameters, and bytes of all weights."""
    models = [teacher.model for teacher in teachers]
    parameters = [item for model in models for item in model.parameters()]
    tensors = [*parameters, *(item for model in models for item in model.buffers())]
    return (
        sum(item.numel() for item in parameters),
        sum(item.numel() * item.element_size() for item in tensors),
    )


def _is_alone() -> bool:
    """Whether no other process waits for as many steps of this one."""
    return bool(get_world_size() == 1)


def _allocated() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def _peak() -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _hours(hours: float) -> str:
    """Hours, or minutes where there are few.

    Example:
        >>> _hours(0.5), _hours(12.34)
        ('30 minutes', '12.3 hours')
    """
    return f'{60 * hours:.0f} minutes' if hours < 2 else f'{hours:.1f} hours'
