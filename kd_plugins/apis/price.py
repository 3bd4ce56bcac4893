"""What a distillation costs, measured on its first batches before it starts."""

import copy
import logging
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..benchmark.stopwatch import synchronise
from ..distillers import Distiller
from ..distillers.auxiliary import student_wrapper
from ..distillers.interface import unwrap
from ..random_stream import random_state_kept
from ..teachers import Teacher
from .copies import UncopiableError, copied_batches, copy_model, why_uncopiable

STUDENT, DISTILLED = 'student', 'distilled'
_BATCHES = 3
_ROUNDS = 5
_ENOUGH = 30.0  # seconds of measuring, after which two rounds do
_MIB = 2**20


@dataclass(frozen=True)
class Price:
    """Time of a step with and without the teacher, and the teacher's memory.

    Attributes:
        seconds: of each timed step, by 'student' and 'distilled'; the two took turns.
        batch_size: images a step, on each process.
        iterations: of the run that are left.
        parameters: of the teachers, number; 0: there is none.
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
            f'{self.weights / _MIB:.1f} MiB'
            if self.parameters
            else '  no teacher',
        ]
        if self.peaks:
            lines.append(
                f'  GPU memory at most: {self.peaks[STUDENT] / _MIB:,.0f} MiB alone, '
                f'{self.peaks[DISTILLED] / _MIB:,.0f} MiB distilled'
            )
        lines.append('  On a busy machine these times are noisy.')
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
        reason = ''
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
    reason = why_uncopiable(runner)
    if reason is not None:
        raise UncopiableError(reason)
    original: Any = unwrap(runner.model)
    for teacher in original.teachers.values():
        teacher.prepare(next(original.student.parameters()).device)
    with random_state_kept(), _quiet(runner.logger):
        before = _allocated()
        try:
            model, wrapper = copy_model(runner)
            batches = list(islice(copied_batches(runner), _BATCHES))
        except TypeError as error:  # of what holds a file or a lock
            raise UncopiableError(
                f'a copy of model or data failed ({error})'
            ) from error
        seconds, peaks = _time_steps(model, wrapper, batches)
        _reset_peak()
        parameters, weights = _size(model.teachers.values())
    if peaks:
        peaks = {part: peak - before for part, peak in peaks.items()}
        peaks[STUDENT] -= weights  # of teachers, which the student alone has not
    return Price(
        seconds,
        len(batches[0]['inputs']),
        runner.max_iters - runner.iter,
        parameters,
        weights,
        peaks,
    )


def _time_steps(
    model: Distiller, wrapper: Any, batches: Sequence[dict[str, Any]]
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds of steps, and on a GPU its memory at most in bytes, by what is stepped.

    Args:
        model: a copy, whose weights change.
        wrapper: its optimiser.
        batches: what it is stepped on, in turn.
    """
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
            if number:  # the first tries every pair, and the teacher's fast copy
                seconds[part].append(time.perf_counter() - start)
            if torch.cuda.is_available():
                peaks[part] = torch.cuda.max_memory_allocated()
        enough = number > 1 and time.perf_counter() - begun > _ENOUGH
        if enough and get_world_size() == 1:  # all processes step as often
            break
    return seconds, peaks


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Warnings alone: what else the copies say, the training will say too."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _size(teachers: Iterable[Teacher]) -> tuple[int, int]:
    """Number of parameters, and bytes of all weights."""
    models = [teacher.model for teacher in teachers]
    parameters = [item for model in models for item in model.parameters()]
    tensors = [*parameters, *(item for model in models for item in model.buffers())]
    return (
        sum(item.numel() for item in parameters),
        sum(item.numel() * item.element_size() for item in tensors),
    )


def _allocated() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _hours(hours: float) -> str:
    """Hours, or minutes or seconds where there are few.

    Example:
        >>> _hours(0.002), _hours(0.5), _hours(12.34)
        ('7 seconds', '30 minutes', '12.3 hours')
    """
    if hours < 2 / 60:
        return f'{3600 * hours:.0f} seconds'
    return f'{60 * hours:.0f} minutes' if hours < 2 else f'{hours:.1f} hours'
