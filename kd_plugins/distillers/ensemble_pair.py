"""A pair that several teachers teach as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..combinations import Combination, MergedTeachers, WeighedLosses
from ..errors import DistillationError, located
from ..losses import DistillationLoss
from ..losses._base import is_sigmoid
from ..views import BoundView, MatchedTensors, TensorSpec
from .liveness import check_alive
from .pair import Pair, adapt
from .step import Step
from .zeros import NoRows


def combined_specs(
    views: Mapping[str, BoundView], combination: Combination
) -> tuple[TensorSpec, ...]:
    """What a pair of several teachers compares.

    Args:
        views: of each teacher, by its name.
        combination: of these.

    Returns: of merged teachers one entry a level or stage; else these entries of each
        teacher, one teacher after the other.
    """
    first = next(iter(views.values()))
    if isinstance(combination, MergedTeachers) or len(views) == 1:
        return first.tensors
    return tuple(
        replace(spec, name=f'{spec.name} of {name}')
        for name, view in views.items()
        for spec in view.tensors
    )


@dataclass
class Members(MatchedTensors):
    """What each of several teachers gives of one level or stage.

    Attributes:
        items: one a teacher; the other attributes are the first one's.
    """

    items: tuple[MatchedTensors, ...] = ()


class NoMembers(Members, NoRows):
    """Of a level or stage that did not run on this process."""


class EnsemblePair(Pair):
    """A pair whose target is made of what several teachers give.

    Each teacher's view is matched, on the same rows. Merged teachers become one
    teacher's tensors; else there is a loss under each, and an adapter, and these losses
    are weighed and added up, level by level.

    Args:
        args: as of :class:`Pair`; the view and the teacher are those of the first.
        members: views of all, by the teacher's name.
        combination: how what they give becomes what the student learns.
        options: as of :class:`Pair`.
    """

    def __init__(
        self,
        *args: Any,
        members: Mapping[str, BoundView],
        combination: Combination,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._others = dict(list(members.items())[1:])
        self.combination = combination
        self._tensors = combined_specs(members, combination)
        self._first_rows = True

    @property
    def views(self) -> Mapping[str, BoundView]:
        """Its view of each teacher, by the teacher's name."""
        return {self.teacher: self.view, **self._others}

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """Levels or stages that it compares, of each teacher unless they are merged."""
        return self._tensors

    def log_keys(self) -> list[str]:
        """Keys of its losses in the host's log: one a level, of all teachers."""
        key = f'loss_kd_{self.name}'
        if self.per_level:
            return [f'{key}_{number}' for number in range(len(self.view.tensors))]
        return [key]

    def shown_loss(self) -> str:
        """Name of the loss, and how the teachers are combined."""
        name = super().shown_loss()
        return f'{name}, {self.combination.describe()} of {len(self.views)}'

    def teacher_maps(self, step: Step) -> list[Tensor]:
        """Of the merged teachers, else of the first."""
        if not isinstance(self.combination, MergedTeachers):
            return super().teacher_maps(step)
        each = [
            view.maps(step.teachers[name], 'teacher')
            for name, view in self.views.items()
            if view.maps is not None
        ]
        context = self.view.tensors[0].context
        return [
            self._merge(maps, is_sigmoid(None, context, maps[0]))
            for maps in zip(*each, strict=True)
        ]

    def match(self, step: Step) -> list[MatchedTensors | None]:
        """Matched tensors: merged level by level, or of one teacher after the other."""
        with located(self.key):
            each = [self._match_with(name, step) for name in self.views]
            levels = list(zip(*each, strict=True))
            if len(each) > 1 and (self._merges or self._of_rows) and self._first_rows:
                for items in levels:
                    self._check_same_rows(items)
                self._first_rows = False
            if self._merges:
                return [self._merged(items) for items in levels]
        return [item for one in each for item in one]

    @property
    def _merges(self) -> bool:
        return isinstance(self.combination, MergedTeachers)

    @property
    def _of_rows(self) -> bool:
        return isinstance(self.combination, WeighedLosses) and self.combination.of_rows

    def _check_same_rows(self, items: Sequence[MatchedTensors | None]) -> None:
        """Refuse views that match other rows of the student with each teacher."""
        present = [item for item in items if item is not None]
        if any(
            item.student.shape != present[0].student.shape
            or not torch.equal(item.student, present[0].student)
            for item in present
        ):
            raise DistillationError(
                "the student's rows are not the same for all members of the ensemble, "
                f'and {self.combination.describe()} combines row by row. Compare rows '
                "that the student chooses (roi_source='student'), give all members the "
                "same class_map, or set combine=dict(type='MeanLosses') in this pair."
            )

    def _merged(self, items: Sequence[MatchedTensors | None]) -> MatchedTensors | None:
        present = [item for item in items if item is not None]
        if not present:
            return None
        first = present[0]
        sigmoid = is_sigmoid(None, first.context, first.teacher)
        teachers = [item.teacher for item in present]
        return replace(first, teacher=self._merge(teachers, sigmoid))

    def _merge(self, logits: Sequence[Tensor], use_sigmoid: bool) -> Tensor:
        assert isinstance(self.combination, MergedTeachers)
        if len(logits) == 1:
            return logits[0]
        return self.combination.merge(torch.stack([*logits]), use_sigmoid=use_sigmoid)

    def _levels(
        self, matched: Sequence[MatchedTensors | None]
    ) -> Sequence[MatchedTensors | None]:
        if self._merges or len(self.views) == 1:
            return matched
        levels = len(self.view.tensors)
        return [_members(matched[number::levels]) for number in range(levels)]

    def _adapter_of(self, number: int) -> nn.Module | None:
        if self.adapters is None or self._merges or len(self.views) == 1:
            return Pair._adapter_of(self, number)
        return self.adapters[number :: len(self.view.tensors)]

    def _check_alive(self, number: int, item: MatchedTensors, value: Tensor) -> None:
        if not isinstance(item, Members):
            Pair._check_alive(self, number, item, value)
            return
        loss = type(self.loss).__name__
        specs = self.tensors[number :: len(self.view.tensors)]
        for spec, one in zip(specs, item.items, strict=True):
            check_alive(one.student, value, spec.name, loss, self.key)

    def _compare(
        self,
        loss: DistillationLoss,
        item: MatchedTensors,
        adapter: nn.Module | None,
        step: Step,
    ) -> Tensor:
        if not isinstance(item, Members):
            return Pair._compare(self, loss, item, adapter, step)
        adapters = [None] * len(item.items) if adapter is None else list(adapter)  # type: ignore[call-overload]
        items = [
            replace(one, student=adapt(each, one.student, one.teacher.shape))
            for each, one in zip(adapters, item.items, strict=True)
        ]
        weights = self._weights(items, step)
        values = []
        for one, weight in zip(items, weights, strict=True):
            if weight.dim() == 0:
                values.append(weight * Pair._compare(self, loss, one, None, step))
                continue
            mask = weight if one.mask is None else weight * one.mask
            values.append(
                Pair._compare(self, loss, replace(one, mask=mask), None, step)
            )
        return torch.stack(values).sum()

    def _weights(self, items: Sequence[MatchedTensors], step: Step) -> Tensor:
        """Of each teacher's loss, (T,); or of each row, (T, M) or (T, N, H, W)."""
        assert isinstance(self.combination, WeighedLosses)
        first, number = items[0], len(items)
        if not self.combination.of_rows:
            return self.combination.weights(None, number).to(first.student.device)
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and not self.combination.detach_weights
        ):
            logits, sigmoid = self._judged(items, step)
            weights = self.combination.weights(
                logits, number, target=first.target, use_sigmoid=sigmoid
            )
        if first.mask is None:
            return weights
        # A dropped row may hold an infinity, and 0 times NaN is no 0.
        return weights.masked_fill(first.mask <= 0, 1 / number)

    def _judged(
        self, items: Sequence[MatchedTensors], step: Step
    ) -> tuple[Tensor, bool]:
        """Logits by which the teachers are weighed, and whether of sigmoids."""
        classifier = self.view.classifier
        if classifier is None:  # these are logits themselves
            teachers = torch.stack([item.teacher.detach() for item in items])
            return teachers, is_sigmoid(None, items[0].context, items[0].teacher)
        judged = []
        for (name, view), item in zip(self.views.items(), items, strict=True):
            assert view.classifier is not None
            judged.append(view.classifier.of(step.teachers[name])(item.student))
        return torch.stack(judged), classifier.activation == 'sigmoid'


def _members(items: Sequence[MatchedTensors | None]) -> Members | None:
    present = tuple(item for item in items if item is not None)
    if len(present) < len(items):
        return None
    absent = any(isinstance(item, NoRows) for item in present)
    kind = NoMembers if absent else Members
    return kind(**vars(present[0]), items=present)
