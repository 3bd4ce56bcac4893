"""Samples whose relations are compared: images, RoIs, pixels, classes of an image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_int, check_same_size
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import COUNT_EPS, float32_rows

SAMPLES = ('image', 'pixel', 'class')
# The golden ratio in 2^16ths: its multiples fall evenly into [0, 1), with no period.
_GOLDEN, _ONE = 40503, 65536


@dataclass(frozen=True)
class Samples:
    """The same samples of student and teacher, one a row.

    Args:
        student: shape (R, D).
        teacher: shape (R, D').
        mask: shape (R,), 1 keeps and 0 drops a sample; None keeps all.
        avg_factor: number of samples that 'mean' divides by; None: those kept.
    """

    student: Tensor
    teacher: Tensor
    mask: Tensor | None
    avg_factor: float | Tensor | None


class SampleLoss(DistillationLoss):
    """A loss of the relations between samples, which makes samples of what it gets.

    Rows (R, D), such as RoI embeddings, are samples as they are; of maps (N, C, H, W)
    ``sample`` says what a sample is. The samples of this process are the set whose
    relations are compared, whatever images they come from: what else is in the batch
    changes the value of each.

    Args:
        loss_weight: factor of the value, >= 0.
        sample: of maps: 'image', the map of an image (or of a RoI), its mean or the
            whole of it as ``flattened`` says; 'pixel', a cell; 'class', a prototype:
            the mean of the cells of one label in one image. Labels are those of
            ``target`` (N, H, W), as seg.features and seg.logits give them. Cells whose
            ``mask`` (N, H, W) is 0 are left out of each.
        max_samples: the most there may be of this process, >= 1; None: all. Of more,
            one out of each of as many equal stretches of the batch, the same of
            student and teacher.
        reduction: 'none', 'mean' or 'sum', over samples.

    Class attributes:
        flattened: whether an image's sample is all its numbers, or the mean of cells.

    Raises: ConfigError for values that cannot be.
    """

    same_channels = False
    flattened: ClassVar[bool] = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        sample: str = 'image',
        max_samples: int | None = 512,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.sample = check_choice('sample', sample, SAMPLES)
        self.max_samples = check_int('max_samples', max_samples)

    @property
    def needs_target(self) -> bool:
        """Only prototypes go by labels."""
        return self.sample == 'class'

    def samples(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor | None,
        mask: Tensor | None,
        avg_factor: float | Tensor | None,
    ) -> Samples:
        """What this loss compares of these tensors.

        Args:
            student: rows (R, D) or maps (N, C, H, W), any float dtype.
            teacher: as many of the same kind; only their channels may differ, and the
                size of maps where an image without mask is a sample.
            target: labels (N, H, W), for 'class'.
            mask: shape (R,) of rows; (N,) or (N, H, W) of maps.
            avg_factor: number of what the mask counts, or of rows or images, averaged
                over the ranks: a process then counts by its share of them.

        Raises: ShapeError for other tensors, and for 'class' without labels.
        """
        _check_pair(student, teacher, '(R, D) or (N, C, H, W)', (2, 4))
        _check_mask(student, mask)
        if student.dim() == 2 and self.sample != 'image':
            raise ShapeError(
                f"sample='{self.sample}' needs maps (N, C, H, W), got rows "
                f'{tuple(student.shape)}, which are samples as they are. Remove sample '
                'from this loss.'
            )
        kept = mask
        with float32_rows(student, teacher) as (own, other):
            if self.sample != 'image' or (mask is not None and mask.dim() == 3):
                check_same_size(student, teacher)
                own, other, kept = self._of_cells(own, other, target, mask)
            elif student.dim() == 4 and self.flattened:
                own, other = own.flatten(1), other.flatten(1)
            elif student.dim() == 4:
                own, other = own.mean(dim=(2, 3)), other.mean(dim=(2, 3))
            own, other, kept = _thinned(own, other, kept, self.max_samples)
            if avg_factor is not None:
                avg_factor = avg_factor * (_count(own, kept) / _count(student, mask))
            return Samples(own, other, kept, avg_factor)

    def _of_cells(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Samples of maps, cell by cell kept or not; maybe more than are wanted."""
        both, cells = (student, teacher), None
        if mask is not None:
            cells = mask if mask.dim() == 3 else mask[:, None, None]
            cells = cells.expand(-1, *student.shape[2:]).to(student.dtype)
            dropped = cells[:, None] <= 0  # whatever was there, infinity too
            both = (student.masked_fill(dropped, 0), teacher.masked_fill(dropped, 0))
        if self.sample == 'pixel':
            own, other = (item.movedim(1, 3).flatten(0, 2) for item in both)
            return own, other, None if cells is None else cells.flatten()
        if self.sample == 'image' and self.flattened:
            assert cells is not None
            own, other = (item.flatten(1) for item in both)
            return own, other, cells.flatten(1).amax(dim=1)
        # Means of some cells of an image, by the weight of each: (N, U, H, W).
        weights = torch.ones_like(student[:, :1])
        if self.sample == 'class':
            weights = _of_labels(student, target, cells)
        if cells is not None:
            weights = weights * cells[:, None]
        count = weights.sum(dim=(2, 3))  # (N, U)
        weights = weights.flatten(2) / count.clamp(min=COUNT_EPS)[:, :, None]
        own, other = (
            (weights @ item.flatten(2).mT).flatten(0, 1) for item in both
        )  # (N U, C)
        return own, other, (count > 0).flatten().to(student.dtype)


def check_samples(student: Tensor, teacher: Tensor) -> None:
    """Refuse what is not as many rows of both, by a ShapeError."""
    _check_pair(student, teacher, '(R, D)', (2,))


def kept_rows(rows: Tensor, mask: Tensor | None) -> Tensor:
    """Which rows there are, bool, shape (R,)."""
    if mask is None:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return mask > 0


def rescaled(rows: Tensor) -> Tensor:
    """The rows in a unit of their own, for what does not depend on the unit.

    It keeps lengths off ``SHORTEST`` and overflow. The factor is a constant of the
    graph, and the gradient still exact, as the unit changes nothing.
    """
    scaled: Tensor = rows / rows.detach().norm().clamp(min=torch.finfo(rows.dtype).tiny)
    return scaled


def _check_pair(
    student: Tensor, teacher: Tensor, layout: str, axes: tuple[int, ...]
) -> None:
    for name, item in (('student', student), ('teacher', teacher)):
        if item.dim() not in axes:
            raise ShapeError(f'{name} must be {layout}, got {tuple(item.shape)}.')
    if student.dim() != teacher.dim() or len(student) != len(teacher):
        kind = 'their number of axes' if student.dim() != teacher.dim() else 'rows'
        raise ShapeError(
            f'student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ '
            f'in {kind} (their channels may). Both must describe the same samples in '
            'the same order.'
        )


def _check_mask(student: Tensor, mask: Tensor | None) -> None:
    count, size = len(student), (len(student), *student.shape[2:])
    if mask is None or mask.shape in ((count,), size):
        return
    cells = f', or {size}, one number per cell' if student.dim() == 4 else ''
    raise ShapeError(
        f'mask must be ({count},), one number per row{cells}, got {tuple(mask.shape)}.'
    )


def _of_labels(student: Tensor, target: Tensor | None, cells: Tensor | None) -> Tensor:
    """Which cells have each of the labels there are, 1 or 0, shape (N, U, H, W)."""
    size = (len(student), *student.shape[2:])
    if target is None or target.shape != size:
        given = 'none' if target is None else tuple(target.shape)
        raise ShapeError(
            f"sample='class' needs the labels {size} of the cells as target, got "
            f"{given}. Use view='seg.features' or 'seg.logits', or sample='pixel'."
        )
    labels = (target if cells is None else target[cells > 0]).unique()  # (U,)
    members: Tensor = target[:, None] == labels[:, None, None]
    return members.to(student.dtype)


def _count(rows: Tensor, mask: Tensor | None) -> Tensor | float:
    """How many are kept, a little more than 0 of none."""
    if mask is None:
        return max(float(len(rows)), COUNT_EPS)
    return mask.sum().float().clamp(min=COUNT_EPS)


def _thinned(
    student: Tensor, teacher: Tensor, mask: Tensor | None, max_samples: int | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """At most so many of the rows kept, in their order, and without waiting for a GPU.

    Not in steps of one length: of 64 x 128 cells every 64th is one of two columns. Of
    each stretch another place is taken.
    """
    if max_samples is None or len(student) <= max_samples:
        return student, teacher, mask
    kept = kept_rows(student, mask)
    order = (~kept).to(torch.uint8).argsort(stable=True)  # those kept first
    count = kept.sum().clamp(min=max_samples)  # fewer: those dropped follow
    steps = torch.arange(max_samples, device=student.device)
    start, end = steps * count // max_samples, (steps + 1) * count // max_samples
    chosen = order[start + (steps * _GOLDEN % _ONE) * (end - start) // _ONE]
    return student[chosen], teacher[chosen], None if mask is None else mask[chosen]
