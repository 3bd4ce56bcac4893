"""One pair at work: view -> adapter -> loss -> weight schedule."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn

from ..errors import ConfigError, located
from ..losses import DistillationLoss, LossContext
from ..random_stream import random_state_kept
from ..schedules import Clock, Schedule
from ..target_transforms import ComparedRows, TargetTransform
from ..views import BoundView, MatchedTensors, TensorSpec
from .liveness import check_alive, copied
from .step import Step
from .zeros import NoRows, Zero, no_rows

# Of the student alone: what it knows of the rows beside its logits.
FEATURES = ('features', 'early_features')
OPTIONAL_INPUTS = ('target', 'mask', 'avg_factor', 'context', *FEATURES)
LEVELS_REDUCTIONS = ('mean', 'sum')
NO_TEACHER = ''  # the name of the teacher of a pair that has none


@cache
def _arguments_of(kind: Callable[..., Any]) -> frozenset[str]:
    """Names that the ``forward`` of a class of losses takes."""
    assert inspect.isclass(kind)
    names: set[str] = set()
    for cls in inspect.getmro(kind):
        if 'forward' not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)['forward']).parameters
        names.update(parameters)
        # A subclass's `*args` and `**kwargs` are for the next one.
        if not any(
            item.kind in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
            for item in parameters.values()
        ):
            break
    return frozenset(names)


def optional_inputs(loss: nn.Module | Callable[..., Any]) -> tuple[str, ...]:
    """What a loss, or a class of losses, takes beyond what it compares, by name."""
    kind: Callable[..., Any] = loss if inspect.isclass(loss) else type(loss)
    names = _arguments_of(kind)
    return tuple(name for name in OPTIONAL_INPUTS if name in names)


def reads_teacher(kind: Callable[..., Any]) -> bool:
    """Whether a class of losses compares with a teacher: its ``forward`` names one."""
    return 'teacher' in _arguments_of(kind)


def loss_of(
    loss: DistillationLoss,
    student: Tensor,
    item: MatchedTensors,
    context: LossContext,
    target_transform: TargetTransform | None = None,
) -> Tensor:
    """A loss of matched tensors, given what it names.

    Args:
        loss: which one.
        student: the student's tensor, behind its adapter.
        item: what it was matched with.
        context: of the loss.
        target_transform: of the pair, or None.
    """
    rows = ComparedRows(student, item.teacher, item.mask, item.images)
    if target_transform is not None:
        rows = target_transform(rows, context)
    available: dict[str, Any] = {
        'target': item.target,
        'mask': rows.mask,
        'avg_factor': item.count,
        'context': context,
        **item.features,
    }
    inputs = {name: available[name] for name in optional_inputs(loss)}
    compared = (rows.student, rows.teacher)
    number = 2 if reads_teacher(type(loss)) else 1
    value: Tensor = loss(*compared[:number], **inputs)
    return value


def statistic_name(pair: str) -> str:
    """A pair's name in a key of what is no loss.

    The host adds up, averages in its log, and takes for better when smaller, whatever
    key contains 'loss'.

    Example:
        >>> statistic_name('hint'), statistic_name('hint_loss')
        ('hint', 'hint_term')
    """
    return pair.replace('loss', 'term')


class Pair:
    """What is compared, how it is adapted, and the loss.

    Args:
        name: key in ``pairs``; its loss is logged as ``loss_kd_<name>``.
        key: its configuration key, for messages.
        view: matches the tensors.
        loss: compares them.
        adapters: one a level or stage of the view, or None.
        schedule: of the loss's weight, where it has one.
        teacher: name of its teacher; '' of a loss that reads none.
        per_level: whether each level or stage is logged by itself.
        levels_reduction: 'mean' or 'sum', over levels or stages.
        target_transform: of the teacher's logits before the loss, or None.

    Attributes:
        check: whether a loss that is not finite is an error, and one that gives the
            student no gradient, at the first step in which the pair, or a level of it,
            is compared.
    """

    def __init__(
        self,
        name: str,
        key: str,
        view: BoundView,
        loss: DistillationLoss,
        adapters: nn.ModuleList | None = None,
        schedule: Schedule | None = None,
        teacher: str = NO_TEACHER,
        per_level: bool = False,
        levels_reduction: str = 'mean',
        target_transform: TargetTransform | None = None,
    ) -> None:
        self.name = name
        self.key = key
        self.view = view
        self.loss = loss
        self.adapters = adapters
        self.schedule = schedule
        self.teacher = teacher
        self.per_level = per_level
        self.levels_reduction = levels_reduction
        self.target_transform = target_transform
        self.check = True
        self._first = True
        self._unchecked = set(range(len(view.tensors)))

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Levels or stages that it compares."""
        return self.view.tensors

    @property
    def views(self) -> Mapping[str, BoundView]:
        """Its view of each teacher that it asks, by the teacher's name.

        Without a teacher that of the student alone, under ``NO_TEACHER``.
        """
        return {self.teacher: self.view}

    @property
    def statistic(self) -> str:
        """Its name in a key of what is no loss."""
        return statistic_name(self.name)

    def log_keys(self) -> list[str]:
        """Keys of its losses in the host's log."""
        key = f'loss_kd_{self.name}'
        if self.per_level:
            return [f'{key}_{number}' for number in range(len(self.tensors))]
        return [key]

    def shown_loss(self) -> str:
        """Name of the loss, and of what changes its target, for the summary."""
        name = type(self.loss).__name__
        if self.target_transform is None:
            return name
        return f'{name} behind {type(self.target_transform).__name__}'

    def shown_weight(self) -> str:
        """The weight, or its schedule, for the summary."""
        weight = str(self.schedule or f'{self.loss.loss_weight:g}')
        summed = self.levels_reduction == 'sum' and len(self.tensors) > 1
        return f'{weight} each' if summed else weight

    def set_weight(self, clock: Clock | None) -> None:
        """Let the schedule, where there is one, set the loss's weight.

        Raises: ConfigError for a schedule that this clock cannot be told from.
        """
        if self.schedule is None:
            return
        with located(self.key), located('loss.loss_weight'):
            if clock is None:
                raise ConfigError(
                    'is a schedule, and the iteration is not known. Set '
                    "runner_type='kd_plugins.DistillRunner', as "
                    'configs/_base_/distill.py does.'
                )
            self.loss.loss_weight = self.schedule(clock)

    def is_active(self) -> bool:
        """Whether it is matched in this step: it has a weight, or was never tried.

        The same on all ranks: what it found in its first step plays no part.
        """
        untried = self._first and self.check and torch.is_grad_enabled()
        return bool(self.loss.loss_weight) or untried

    def match(self, step: Step) -> list[MatchedTensors | None]:
        """Matched tensors of this step, one entry a level or stage.

        Raises: ConfigError or DistillationError naming the pair.
        """
        with located(self.key):
            return self._match_with(self.teacher, step)

    def _match_with(self, teacher: str, step: Step) -> list[MatchedTensors | None]:
        """What its view matches of the student and one teacher."""
        view = self.views[teacher]
        if teacher == NO_TEACHER:
            assert view.match_alone is not None
            matched = view.match_alone(step.student, step.samples)
        else:
            run = step.teachers[teacher]
            matched = view.match(step.student, run, step.samples)
        view.add_features(step.student, matched)
        return matched

    def teacher_maps(self, step: Step) -> list[Tensor]:
        """Of a view that has maps, those of the teacher as it predicts."""
        assert self.view.maps is not None
        return self.view.maps(step.teachers[self.teacher], 'teacher')

    def losses(
        self, step: Step, matched: Sequence[MatchedTensors | None] | None
    ) -> dict[str, Tensor]:
        """Weighted losses by log key; over the levels or stages their mean, or sum.

        A level of weight 0 gives an exact 0: a backward pass through its loss could
        hold a NaN (the root of 0), which no weight makes harmless.

        Args:
            step: in which they are computed.
            matched: tensors of each level or stage, None for one that did not run; None
                for a pair that is not active.

        Raises: ShapeError naming the pair, where two tensors cannot be compared;
            DistillationError for a loss that gives the student no gradient.
        """
        first = False
        if matched is None:
            matched = [None] * len(self.tensors)
        elif torch.is_grad_enabled():
            first, self._first = self._first, False
            if get_world_size() > 1:
                device = step.inputs.device
                matched = [
                    no_rows(spec, device) if item is None else item
                    for spec, item in zip(self.tensors, matched, strict=True)
                ]
        with located(self.key):
            values = [
                self._level(number, item, step, first)
                for number, item in enumerate(self._levels(matched))
            ]
        mean = self.levels_reduction == 'mean'
        if self.per_level:  # the host adds them up
            values = [value / len(values) for value in values] if mean else values
        else:
            together = torch.stack(values)
            values = [together.mean() if mean else together.sum()]
        return dict(zip(self.log_keys(), values, strict=True))

    def trial(self, step: Step, matched: Sequence[MatchedTensors | None]) -> Tensor:
        """Its loss on these tensors at weight 1, summed over levels or stages.

        On copies, which learn in its place, and no later draw shifts. All processes
        must call it.

        Args:
            step: in which they were matched.
            matched: tensors of each level or stage, None for one that did not run.
        """
        if get_world_size() > 1:
            matched = [
                no_rows(spec, step.inputs.device) if item is None else item
                for spec, item in zip(self.tensors, matched, strict=True)
            ]
        values = []
        for number, item in enumerate(self._levels(matched)):
            if item is not None:
                adapter = self._adapter_of(number)
                with located(self.key):
                    values.append(self._try(item, adapter, step, weight=1.0).detach())
        return torch.stack(values).sum() if values else step.inputs.new_zeros(())

    def _level(
        self, number: int, item: MatchedTensors | None, step: Step, first: bool
    ) -> Tensor:
        """Weighted loss of one level or stage.

        What is computed, here or for a level that did not run here, depends on nothing
        that differs between processes.
        """
        adapter = self._adapter_of(number)
        weight = self.loss.loss_weight
        # Without gradients nothing trains: whether one would flow is not known.
        check = self.check and number in self._unchecked and torch.is_grad_enabled()
        if item is None or not (weight or (check and first)):
            return self._zero(adapter, step.inputs.device)
        value = (
            self._compare(self.loss, item, adapter, step)
            if weight
            else self._try(item, adapter, step)
        )
        if isinstance(item, NoRows):
            value = value + self._zero(adapter, step.inputs.device)
        elif check:
            self._check_alive(number, item, value)
            self._unchecked.discard(number)
        return value if weight else self._zero(adapter, step.inputs.device)

    def _levels(
        self, matched: Sequence[MatchedTensors | None]
    ) -> Sequence[MatchedTensors | None]:
        """What is matched, level by level or stage by stage."""
        return matched

    def _adapter_of(self, number: int) -> nn.Module | None:
        """Of a level or stage."""
        return None if self.adapters is None else self.adapters[number]

    def _check_alive(self, number: int, item: MatchedTensors, value: Tensor) -> None:
        name, loss = self.tensors[number].name, type(self.loss).__name__
        check_alive(item.student, value, name, loss, self.key)

    def _try(
        self,
        item: MatchedTensors,
        adapter: nn.Module | None,
        step: Step,
        weight: float = 0.0,
    ) -> Tensor:
        """Only to see whether it would be alive: copies learn, no later draw shifts.

        A resumed run tries again, and must yet be the uninterrupted one.
        """
        loss, adapter = copied(self.loss, adapter)
        assert isinstance(loss, DistillationLoss)
        loss.loss_weight = weight
        with random_state_kept():
            return self._compare(loss, item, adapter, step)

    def _compare(
        self,
        loss: DistillationLoss,
        item: MatchedTensors,
        adapter: nn.Module | None,
        step: Step,
    ) -> Tensor:
        student = adapt(adapter, item.student, item.teacher.shape)
        context = replace(item.context, pair=self.name, step=step.data)
        return loss_of(loss, student, item, context, self.target_transform)

    def _zero(self, adapter: nn.Module | None, device: torch.device) -> Tensor:
        """0, with a graph through all parameters: DDP waits for each of them."""
        parameters = [] if adapter is None else list(adapter.parameters())
        trained = self.loss.trained_with_student().values()
        value: Tensor = Zero.apply(device, *parameters, *trained)
        return value


def adapt(adapter: nn.Module | None, student: Tensor, shape: Sequence[int]) -> Tensor:
    """The student's tensor with the teacher's channels and, for maps, size."""
    if adapter is None:
        return student
    size = tuple(shape[2:]) if len(shape) == 4 else None
    adapted: Tensor = adapter(student, size)
    return adapted
