"""Shared by all losses: rows in float32, and the reduction over rows."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_mask, check_pixel_mask

REDUCTIONS = ('none', 'mean', 'sum')

# The smallest count that a sum is divided by. Not 1: averaged over ranks, one row on
# one of eight ranks counts 1/8, and clamping that to 1 would shrink its loss.
COUNT_EPS = torch.finfo(torch.float32).eps

# Below this length a vector has no direction: it becomes 0, and so does its gradient,
# which a division would enlarge without bound.
SHORTEST = 1e-6


@contextmanager
def float32_rows(
    *tensors: Tensor, mask: Tensor | None = None
) -> Iterator[tuple[Tensor, ...]]:
    """The tensors in float32, outside autocast; dropped rows become 0.

    Args:
        tensors: rows first, any float dtype; float64 stays float64.
        mask: shape (rows,), 1 keeps and 0 drops. Dropped rows are not removed, which
            would cost a device synchronisation. An infinity in a dropped row reaches
            neither the value nor the gradient.

    Raises: ShapeError if the mask has another shape.

    Example:
        >>> import torch
        >>> half = torch.tensor([[0.5]], dtype=torch.bfloat16)
        >>> with float32_rows(half) as (full,):
        ...     full
        tensor([[0.5000]])
    """
    with torch.autocast(tensors[0].device.type, enabled=False):
        rows = [t if t.dtype == torch.float64 else t.float() for t in tensors]
        if mask is not None:
            check_mask(mask, len(tensors[0]))
            dropped = mask <= 0
            rows = [
                row.masked_fill(dropped.view(-1, *[1] * (row.dim() - 1)), 0.0)
                for row in rows
            ]
        yield tuple(rows)


def pixel_rows(
    student: Tensor, teacher: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Class maps (N, K, H, W) as rows (N H W, K), one a pixel; rows stay rows.

    Args:
        student: logits, maps or rows.
        teacher: same shape.
        mask: of maps (N, H, W), of rows (rows,); 1 keeps and 0 drops.

    Raises: ShapeError for another mask of maps.

    Example:
        >>> import torch
        >>> maps = torch.zeros(2, 19, 4, 8)
        >>> pixel_rows(maps, maps, torch.ones(2, 4, 8))[0].shape
        torch.Size([64, 19])
    """
    if student.dim() != 4:
        return student, teacher, mask
    if mask is not None:
        check_pixel_mask(mask, student)
        mask = mask.flatten()
    maps = [item.permute(0, 2, 3, 1).flatten(0, 2) for item in (student, teacher)]
    return maps[0], maps[1], mask


def unit_vectors(vectors: Tensor, *, detach_norm: bool = False) -> Tensor:
    """The vectors along the last axis scaled to length 1; a zero vector stays 0.

    Args:
        vectors: shape (..., D).
        detach_norm: no gradient through the lengths.

    Example:
        >>> import torch
        >>> unit_vectors(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    norm = (vectors.detach() if detach_norm else vectors).norm(dim=-1, keepdim=True)
    directions = vectors / norm.clamp(min=SHORTEST)
    return torch.where(norm > SHORTEST, directions, torch.zeros_like(vectors))


def reduce_loss(
    values: Tensor,
    reduction: str = 'mean',
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
) -> Tensor:
    """Reduce one value per row by ``reduction``.

    Args:
        values: one per row, shape (rows,), finite in dropped rows too.
        reduction: ``'none'`` (masked values), ``'mean'`` or ``'sum'``.
        mask: shape (rows,), 1 keeps and 0 drops.
        avg_factor: number of rows that 'mean' divides by, a number or a scalar tensor,
            already averaged over the ranks: the mean over ranks is then the mean over
            all their rows. Default: the number of rows, or the mask's sum.

    Returns: shape (rows,) for 'none', else a scalar. Without rows an exact 0 that
        still depends on ``values``.
    Raises: ConfigError for another reduction; ShapeError for another mask shape.

    Example:
        >>> import torch
        >>> reduce_loss(torch.tensor([1.0, 5.0]), mask=torch.tensor([1.0, 0.0]))
        tensor(1.)
    """
    check_choice('reduction', reduction, REDUCTIONS)
    count: float | Tensor = len(values)
    if mask is not None:
        check_mask(mask, len(values))
        mask = mask.to(values.dtype)
        values = values * mask
        count = mask.sum()
    if reduction == 'none':
        return values
    if reduction == 'sum':
        return values.sum()
    if avg_factor is not None:
        count = avg_factor
    if isinstance(count, Tensor):
        return values.sum() / count.to(values).clamp(min=COUNT_EPS)
    return values.sum() / max(count, COUNT_EPS)
