"""What a loss reads of its rows, found by trying copies of it on drawn ones."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..losses import DistillationLoss, StepData
from ..random_stream import seeded
from ..views import TensorSpec
from .pair import optional_inputs
from .zeros import zeros_of

_ROWS = 6  # of three there are relations
_CLOSE = 1e-3


def reads_logits(loss: DistillationLoss, spec: TensorSpec, pair: str) -> bool:
    """Whether a loss changes when a number is added to all logits of a teacher's row.

    If not, it reads no more of them than probabilities.

    Args:
        loss: of logits.
        spec: what it compares.
        pair: name of the pair.
    """
    trial = _Trial(loss, spec, pair)
    shift = 3 * trial.drawn((len(trial.teacher), 1, *trial.teacher.shape[2:]))
    return not _same(trial.value(), trial.value(shift=shift))


def weighs_rows(loss: DistillationLoss, spec: TensorSpec, pair: str) -> bool:
    """Whether a loss is the sum over rows of a value times the row's mask.

    Args:
        loss: whatever it compares.
        spec: what it compares; the student is given the teacher's shape.
        pair: name of the pair.
    """
    if 'mask' not in optional_inputs(loss):
        return False
    trial = _Trial(loss, spec, pair)
    size = (len(trial.teacher), *trial.teacher.shape[2:])
    weights = trial.drawn(size).abs() + 0.1
    first = (torch.arange(weights.numel()) % 2).to(weights).view(size)
    parts = [trial.value(mask=weights * part) for part in (first, 1 - first)]
    return _same(trial.value(mask=weights), sum(parts)) and _same(
        trial.value(mask=2 * weights), 2 * trial.value(mask=weights)
    )


class _Trial:
    """Drawn rows, and a loss of them.

    Args:
        loss: copied for each value.
        spec: what it compares.
        pair: name of the pair.
    """

    def __init__(self, loss: DistillationLoss, spec: TensorSpec, pair: str) -> None:
        self._loss = loss
        self._item = zeros_of(spec, rows=_ROWS)
        self._generator = torch.Generator().manual_seed(0)
        self.teacher = 2 * self.drawn(self._item.teacher.shape)
        self.student = self.drawn(self._item.teacher.shape)
        self._context = replace(
            self._item.context,
            pair=pair,
            step=StepData(torch.zeros(len(self.teacher), 3, 8, 8)),
            dry_run=True,
        )

    def drawn(self, shape: Sequence[int]) -> Tensor:
        """Normal numbers, the same in each trial."""
        return torch.randn(tuple(shape), generator=self._generator)

    def value(
        self, *, shift: Tensor | float = 0.0, mask: Tensor | None = None
    ) -> float:
        """The loss, with something added to the teacher, or another mask."""
        available: dict[str, Any] = {
            'target': self._item.target,
            'mask': self._item.mask if mask is None else mask,
            'avg_factor': self._item.count,
            'context': self._context,
        }
        loss: Callable[..., Tensor] = copy.deepcopy(self._loss)
        loss.loss_weight = 1.0  # type: ignore[attr-defined]  # of a schedule: 0 at first
        inputs = {key: available[key] for key in optional_inputs(self._loss)}
        with torch.no_grad(), seeded(0):
            return float(loss(self.student, self.teacher + shift, **inputs))


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _CLOSE * max(abs(one), abs(other), _CLOSE)
