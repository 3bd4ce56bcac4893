"""Samples for losses of relations: images, RoIs, pixels, classes of an image."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_optional_int, check_same_size
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import COUNT_EPS, float32_rows

SAMPLES = ('image', 'pixel', 'class')
# The golden ratio in 2^16ths: its multiples fall evenly into [0, 1), with no period.
_GOLDEN, _ONE = 40503, 65536


@dataclass(frozen=True)
class Samples:
    """The same samples of student and teacher, one in each row.

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
    """A loss of the relations between samples of the batch.

    Each row of (R, D), such as a RoI embedding, is a sample; of maps (N, C, H, W)
    ``sample`` says what a sample is. The loss compares the relations between all
    samples of this process, of whatever image. The value of a sample therefore depends
    on the rest of the batch.

    Args:
        loss_weight: factor of the value, >= 0.
        sample: of maps: 'image', the map of an image (or of a RoI), its mean or all its
            numbers, by ``flattened``; 'pixel'; or 'class', a prototype: the mean of the
            pixels of one label in one image. Labels are those of ``target`` (N, H, W),
            as seg.features and seg.logits give them. Pixels whose ``mask`` (N, H, W)
            is 0 are left out.
        max_samples: the most samples of this process, >= 1; None: all. Of more, the
            batch is divided into ``max_samples`` equal parts, and one sample of each
            part remains, the same of student and teacher.
        reduction: 'none', 'mean' or 'sum', over samples.

    Class attributes:
        flattened: whether the sample of an image is all its numbers, or their mean
            over the pixels.

    Raises: ConfigError for invalid values.
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
        self.max_samples = check_optional_int('max_samples', max_samples)

    @property
    def needs_target(self) -> bool:
        """Only prototypes need labels."""
        return self.sample == 'class'

    def samples(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor | None,
        mask: Tensor | None,
        avg_factor: float | Tensor | None,
    ) -> Samples:
        """The samples of two tensors.

        Args:
            student: rows (R, D) or maps (N, C, H, W), any float dtype.
            teacher: same shape, except for the channels; and for the size of maps
                if ``sample`` is 'image' and the mask is not one of pixels.
            target: labels (N, H, W), for 'class'.
            mask: shape (R,) of rows; (N,) or (N, H, W) of maps.
            avg_factor: number of what the mask keeps, or of rows or images, averaged
                over the ranks: the weight of a process is its share of them.

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
        with float32_rows(student, teacher) as (student_rows, teacher_rows):
            if self.sample != 'image' or (mask is not None and mask.dim() == 3):
                check_same_size(student, teacher)
                student_rows, teacher_rows, kept = self._of_pixels(
                    student_rows, teacher_rows, target, mask
                )
            elif student.dim() == 4 and self.flattened:
                student_rows = student_rows.flatten(1)
                teacher_rows = teacher_rows.flatten(1)
            elif student.dim() == 4:
                student_rows = student_rows.mean(dim=(2, 3))
                teacher_rows = teacher_rows.mean(dim=(2, 3))
            student_rows, teacher_rows, kept = _thinned(
                student_rows, teacher_rows, kept, self.max_samples
            )
            if avg_factor is not None:
                share = _count(student_rows, kept) / _count(student, mask)
                avg_factor = avg_factor * share
            return Samples(student_rows, teacher_rows, kept, avg_factor)

    def _of_pixels(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Samples of maps under a mask of pixels; may exceed ``max_samples``."""
        pixels = None
        if mask is not None:
            pixels = mask if mask.dim() == 3 else mask[:, None, None]
            pixels = pixels.expand(-1, *student.shape[2:]).to(student.dtype)
            dropped = pixels[:, None] <= 0  # an infinity there is cleared too
            student = student.masked_fill(dropped, 0)
            teacher = teacher.masked_fill(dropped, 0)
        if self.sample == 'pixel':
            student, teacher = (
                item.movedim(1, 3).flatten(0, 2) for item in (student, teacher)
            )
            return student, teacher, None if pixels is None else pixels.flatten()
        if self.sample == 'image' and self.flattened:
            assert pixels is not None
            kept = pixels.flatten(1).amax(dim=1)
            return student.flatten(1), teacher.flatten(1), kept
        # The weight of each pixel in the means: (N, U, H, W).
        weights = torch.ones_like(student[:, :1])
        if self.sample == 'class':
            weights = _of_labels(student, target, pixels)
        if pixels is not None:
            weights = weights * pixels[:, None]
        count = weights.sum(dim=(2, 3))  # (N, U)
        weights = weights.flatten(2) / count.clamp(min=COUNT_EPS)[:, :, None]
        student, teacher = (
            (weights @ item.flatten(2).mT).flatten(0, 1) for item in (student, teacher)
        )  # (N U, C)
        return student, teacher, (count > 0).flatten().to(student.dtype)


def check_samples(student: Tensor, teacher: Tensor) -> None:
    """Raise a ShapeError unless both are rows (R, D), the same number."""
    _check_pair(student, teacher, '(R, D)', (2,))


def kept_rows(rows: Tensor, mask: Tensor | None) -> Tensor:
    """The rows that the mask keeps, bool, shape (R,)."""
    if mask is None:
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    return mask > 0


def rescaled(rows: Tensor) -> Tensor:
    """The rows divided by their norm, for functions that ignore the scale.

    It prevents overflow, and lengths below ``SHORTEST``. The factor is a constant of
    the graph. The gradient remains exact, because the function ignores the scale.
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
    pixels = f', or {size}, one number per pixel' if student.dim() == 4 else ''
    raise ShapeError(
        f'mask must be ({count},), one number per row{pixels}, got {tuple(mask.shape)}.'
    )


def _of_labels(student: Tensor, target: Tensor | None, mask: Tensor | None) -> Tensor:
    """The pixels of each of the U labels, 1 or 0, shape (N, U, H, W)."""
    size = (len(student), *student.shape[2:])
    if target is None or target.shape != size:
        shape = 'none' if target is None else tuple(target.shape)
        raise ShapeError(
            f"sample='class' needs the labels {size} of the pixels as target, got "
            f"{shape}. Use view='seg.features' or 'seg.logits', or sample='pixel'."
        )
    labels = (target if mask is None else target[mask > 0]).unique()  # (U,)
    members: Tensor = target[:, None] == labels[:, None, None]
    return members.to(student.dtype)


def _count(rows: Tensor, mask: Tensor | None) -> Tensor | float:
    """Number of rows kept; ``COUNT_EPS`` instead of 0."""
    if mask is None:
        return max(float(len(rows)), COUNT_EPS)
    return mask.sum().float().clamp(min=COUNT_EPS)


def _thinned(
    student: Tensor, teacher: Tensor, mask: Tensor | None, max_samples: int | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """At most ``max_samples`` of the rows kept, in their order, without a GPU sync.

    The steps differ in length: of 64 x 128 pixels, every 64th lies in one of two
    columns. The position within each part therefore varies.
    """
    if max_samples is None or len(student) <= max_samples:
        return student, teacher, mask
    kept = kept_rows(student, mask)
    order = (~kept).to(torch.uint8).argsort(stable=True)  # those kept first
    count = kept.sum().clamp(min=max_samples)  # of fewer, dropped rows follow
    steps = torch.arange(max_samples, device=student.device)
    start, end = steps * count // max_samples, (steps + 1) * count // max_samples
    index = order[start + (steps * _GOLDEN % _ONE) * (end - start) // _ONE]
    return student[index], teacher[index], None if mask is None else mask[index]
