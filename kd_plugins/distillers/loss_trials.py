"""What a loss reads of its rows, found by trying copies of it on drawn ones."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..losses import DistillationLoss, StepData
from ..random_stream import seeded
from ..target_transforms import TargetTransform
from ..views import TensorSpec
from .pair import loss_of, optional_inputs
from .zeros import zeros_of

_ROWS = 6  # of three there are relations
_CLOSE = 1e-3


def reads_logits(
    loss: DistillationLoss,
    spec: TensorSpec,
    pair: str,
    target_transform: TargetTransform | None = None,
) -> bool:
    """Whether a loss changes when a number is added to all logits of a teacher's row.

    If not, it reads no more of them than probabilities.

    Args:
        loss: of logits.
        spec: what it compares.
        pair: name of the pair.
        target_transform: of the pair, or None.
    """
    trial = _Trial(loss, spec, pair, target_transform)
    shift = 3 * trial.drawn((len(trial.teacher), 1, *trial.teacher.shape[2:]))
    return not _same(trial.value(), trial.value(shift=shift))


def weighs_rows(
    loss: DistillationLoss,
    spec: TensorSpec,
    pair: str,
    target_transform: TargetTransform | None = None,
) -> bool:
    """Whether a loss is the sum over rows of a value times the row's mask.

    Args:
        loss: whatever it compares.
        spec: what it compares; the student is given the teacher's shape.
        pair: name of the pair.
        target_transform: of the pair, or None.
    """
    if 'mask' not in optional_inputs(loss):
        return False
    trial = _Trial(loss, spec, pair, target_transform)
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
        target_transform: of the pair, or None.
    """

    def __init__(
        self,
        loss: DistillationLoss,
        spec: TensorSpec,
        pair: str,
        target_transform: TargetTransform | None,
    ) -> None:
        self._loss = loss
        self._target_transform = target_transform
        self._item = zeros_of(spec, rows=_ROWS)
        self._generator = torch.Generator().manual_seed(0)
        self.teacher = 2 * self.drawn(self._item.teacher.shape)
        self.student = self.drawn(self._item.teacher.shape)
        self._context = replace(
            self._item.context,
            pair=pair,
            step=StepData(torch.zeros(len(self.teacher), 3, 8, 8), iteration=0),
            dry_run=True,
        )

    def drawn(self, shape: Sequence[int]) -> Tensor:
        """Normal numbers, the same in each trial."""
        return torch.randn(tuple(shape), generator=self._generator)

    def value(
        self, *, shift: Tensor | float = 0.0, mask: Tensor | None = None
    ) -> float:
        """The loss, with something added to the teacher, or another mask."""
        loss = copy.deepcopy(self._loss)
        loss.loss_weight = 1.0  # of a schedule it may be 0 at first
        item = replace(
            self._item,
            teacher=self.teacher + shift,
            mask=self._item.mask if mask is None else mask,
        )
        transform = self._target_transform
        with torch.no_grad(), seeded(0):
            return float(loss_of(loss, self.student, item, self._context, transform))


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _CLOSE * max(abs(one), abs(other), _CLOSE)
