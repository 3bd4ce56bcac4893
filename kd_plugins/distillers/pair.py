"""One pair at work: view -> adapter -> loss -> weight schedule."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError, ShapeError
from ..losses import DistillationLoss, LossContext
from ..schedules import Clock, Schedule
from ..views import MatchedTensors, Place, Step, View

OPTIONAL_INPUTS = ('target', 'mask', 'avg_factor', 'context')
LEVELS_REDUCTIONS = ('mean', 'sum')


def optional_inputs(loss: nn.Module) -> list[str]:
    """What a loss takes beyond the two tensors, by name."""
    names: set[str] = set()
    for cls in inspect.getmro(type(loss)):
        if 'forward' not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)['forward']).parameters
        names.update(parameters)
        # A subclass's `**kwargs` are for the next one.
        if not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
            break
    return [name for name in OPTIONAL_INPUTS if name in names]


def statistic_name(pair: str) -> str:
    """A pair's name in a key of what is no loss.

    The host adds up, averages in its log, and takes for better when smaller, whatever
    key contains 'loss'.

    Example:
        >>> statistic_name('hint'), statistic_name('hint_loss')
        ('hint', 'hint_term')
    """
    return pair.replace('loss', 'term')


@dataclass
class Pair:
    """What is compared, how it is adapted, and the loss.

    Attributes:
        name: key in ``pairs``; its loss is logged as ``loss_kd_<name>``.
        where: configuration key, for messages.
        view: matches the tensors.
        loss: compares them.
        schedule: of the loss's weight, where it has one.
        teacher: name of its teacher.
        per_level: whether each level or stage is logged by itself.
        levels_reduction: 'mean' or 'sum', over levels or stages.
        places: levels or stages, known once both models are.
    """

    name: str
    where: str
    view: View
    loss: DistillationLoss
    schedule: Schedule | None = None
    teacher: str = ''
    per_level: bool = False
    levels_reduction: str = 'mean'
    places: list[Place] = field(default_factory=list)
    _unchecked: set[int] | None = None

    def log_keys(self) -> list[str]:
        """Keys of its losses in the host's log."""
        key = f'loss_kd_{self.name}'
        if self.per_level:
            return [f'{key}_{number}' for number in range(len(self.places))]
        return [key]

    @property
    def statistic(self) -> str:
        """Its name in a key of what is no loss."""
        return statistic_name(self.name)

    def set_weight(self, clock: Clock | None) -> None:
        """Let the schedule, where there is one, set the loss's weight."""
        if self.schedule is None:
            return
        if clock is None:
            raise ConfigError(
                f'{self.where}.loss.loss_weight is a schedule, and nobody tells the '
                "iteration. Set runner_type='kd_plugins.DistillRunner', as "
                'configs/_base_/distill.py does.'
            )
        self.loss.loss_weight = self.schedule(clock)

    def shown_weight(self) -> str:
        """The weight, or its schedule, for the plan."""
        shown = str(self.schedule or f'{self.loss.loss_weight:g}')
        summed = self.levels_reduction == 'sum' and len(self.places) > 1
        return f'{shown} each' if summed else shown

    def match(self, step: Step) -> list[MatchedTensors | None]:
        """Matched tensors of this step, one entry a place.

        Raises: ConfigError or DistillationError naming the pair.
        """
        try:
            return self.view.match(step)
        except (ConfigError, DistillationError) as error:
            raise type(error)(f'{self.where}: {error}') from error

    def compute(
        self,
        matched: Sequence[MatchedTensors | None],
        adapters: Sequence[nn.Module],
        avg_factors: Sequence[Tensor | float],
        device: torch.device,
        data_samples: Sequence[Any] = (),
        inputs: Tensor | None = None,
        iteration: int | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by log key; over the levels or stages their mean, or sum.

        A level of weight 0 gives an exact 0: a backward pass through its loss could
        hold a NaN (the root of 0), which no weight makes harmless.

        Args:
            matched: tensors of each level or stage; None for one that did not run.
            adapters: one a level or stage, or none at all.
            avg_factors: counts, averaged over the ranks.
            device: of the student.
            data_samples: of the batch.
            inputs: images, as the student sees them.
            iteration: of the training; None where nobody tells.

        Raises: ShapeError naming the pair, where two tensors cannot be compared;
            DistillationError for a loss that gives the student no gradient.
        """
        if self._unchecked is None:
            self._unchecked = set(range(len(self.places)))
        values = []
        told: dict[str, Any] = {
            'pair': self.name,
            'data_samples': data_samples,
            'inputs': inputs,
            'iteration': iteration,
        }
        for number, item in enumerate(matched):
            adapter = adapters[number] if adapters else None
            value = None
            # Without gradients nobody trains: whether one would flow is not known.
            unchecked = number in self._unchecked and torch.is_grad_enabled()
            if item is not None and (self.loss.loss_weight or unchecked):
                context = replace(item.context, **told)
                # Only to see whether it would be alive: on a copy, which may learn.
                loss = self.loss if self.loss.loss_weight else copy.deepcopy(self.loss)
                factor = avg_factors[number]
                value = self._value(loss, item, adapter, factor, context)
                if unchecked:
                    self._check_alive(self.places[number], item, value)
                    self._unchecked.discard(number)
            if value is None or not self.loss.loss_weight:
                value = self._zero(adapter, device)
            values.append(value)
        mean = self.levels_reduction == 'mean'
        if self.per_level:  # the host adds them up
            values = [value / len(values) for value in values] if mean else values
        else:
            together = torch.stack(values)
            values = [together.mean() if mean else together.sum()]
        return dict(zip(self.log_keys(), values, strict=True))

    def _value(
        self,
        loss: DistillationLoss,
        item: MatchedTensors,
        adapter: nn.Module | None,
        avg_factor: Tensor | float,
        context: LossContext,
    ) -> Tensor:
        available: dict[str, Any] = {
            'target': item.target,
            'mask': item.mask,
            'avg_factor': avg_factor,
            'context': context,
        }
        inputs = {key: available[key] for key in optional_inputs(loss)}
        try:
            student = adapt(adapter, item.student, item.teacher.shape)
            value: Tensor = loss(student, item.teacher, **inputs)
        except ShapeError as error:
            raise ShapeError(f'{self.where}: {error}') from error
        return value

    def _zero(self, adapter: nn.Module | None, device: torch.device) -> Tensor:
        """0, with a graph through all parameters: DDP waits for each of them."""
        value = torch.zeros((), device=device)
        own = [] if adapter is None else list(adapter.parameters())
        for parameter in (*own, *self.loss.trained_with_student().values()):
            value = value + 0 * parameter.sum()
        return value

    def _check_alive(self, place: Place, item: MatchedTensors, value: Tensor) -> None:
        if not item.student.requires_grad:
            raise DistillationError(
                f'{self.where}: {place.name} of the student carries no gradient: it is '
                'frozen (frozen_stages, requires_grad), or lies in a block with '
                'activation checkpointing (with_cp). Choose a layer that trains.'
            )
        gradient = (
            torch.autograd.grad(
                value, item.student, retain_graph=True, allow_unused=True
            )
            if value.requires_grad
            else (None,)
        )
        if gradient[0] is None:
            raise DistillationError(
                f'{self.where}: {type(self.loss).__name__} gives no gradient to '
                f'{place.name} of the student. Change {self.where}.loss or .adapter.'
            )


def adapt(adapter: nn.Module | None, student: Tensor, shape: Sequence[int]) -> Tensor:
    """The student's tensor with the teacher's channels and, for maps, size."""
    if adapter is None:
        return student
    size = tuple(shape[2:]) if len(shape) == 4 else None
    adapted: Tensor = adapter(student, size)
    return adapted
