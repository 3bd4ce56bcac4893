"""How far a teacher's errors lie apart, and what each of its answers is worth."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.checks import check_float, check_int, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._reductions import float32_rows, pixel_rows

LAYOUT = 'RD|NCHW'


def teacher_reliability(
    error: Tensor, normalizer: float | Tensor, clamp: bool = True
) -> Tensor:
    """What each row of the teacher is worth, from its squared error (R,).

    Args:
        error: >= 0.
        normalizer: the range of errors; where it is not > 0, all are worth 1.
        clamp: to 0 and 1.

    Example:
        >>> teacher_reliability(torch.tensor([1.0, 3.0]), 2.0, clamp=False)
        tensor([ 0.5000, -0.5000])
    """
    if isinstance(normalizer, Tensor):
        scale = normalizer.to(error)
    else:
        scale = error.new_full((), normalizer)
    worth = torch.where(scale > 0, 1 - error / scale, torch.ones_like(error))
    return worth.clamp(0, 1) if clamp else worth


def error_range(
    teacher: Tensor,
    target: Tensor,
    *,
    percentile: float = 100.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Smallest and largest squared error of the teacher, over the rows kept.

    Args:
        teacher: deltas (R, D), or maps (N, C, H, W) whose pixels are rows.
        target: same shape.
        percentile: above 0; below 100, the largest is the smallest error that this
            share of them, in percent, does not exceed: outliers do not set it.
        mask: shape (R,) or (N, H, W), 1 keeps and 0 drops a row.

    Returns: (2,), squared units; infinity and minus infinity where no row is kept.
    Raises: ShapeError if the shapes differ.

    Example:
        >>> error_range(torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(3, 1))
        tensor([0., 4.])
    """
    check_same_shape(teacher, target, layout=LAYOUT, names=('teacher', 'target'))
    teacher, target, mask = pixel_rows(teacher.detach(), target.detach(), mask)
    with float32_rows(teacher, target, mask=mask) as (teacher, target):
        error = (teacher - target).square().sum(dim=1)  # (R,)
        kept = torch.ones_like(error) if mask is None else mask
        dropped, count = kept <= 0, (kept > 0).sum()
        end = error.new_full((1,), math.inf)  # of no rows there is no smallest
        ascending = torch.cat([error.masked_fill(dropped, math.inf), end])
        if percentile == 100:
            highest = torch.cat([error.masked_fill(dropped, -math.inf), -end]).amax()
        else:
            last = (count.double() * (percentile / 100)).ceil().long() - 1
            highest = ascending.sort().values.gather(0, last.clamp(min=0)[None])[0]
            highest = torch.where(count > 0, highest, -end[0])
        return torch.stack([ascending.amin(), highest])


class BatchRange(nn.Module):
    """Largest less smallest error of a batch, over all ranks."""

    def forward(self, found: Tensor) -> Tensor:
        """The range (); not > 0 where there is none.

        Args:
            found: of :func:`error_range`.
        """
        found = _over_ranks(found)
        return found[1] - found[0]


class RunningRange(nn.Module):
    """Largest less smallest error of the batches so far, over all ranks.

    Moves in training alone, and with gradients; its buffers are in the checkpoint.

    Args:
        momentum: >= 0 and below 1, the share of what was known before.
        warmup: batches with rows, >= 0, before the range is told.

    Raises: ConfigError for values that cannot be.
    """

    errors: Tensor
    batches: Tensor

    def __init__(self, momentum: float, warmup: int) -> None:
        super().__init__()
        self.momentum = check_float('momentum', momentum)
        if self.momentum >= 1:
            raise ConfigError(f'momentum must be below 1, got {momentum!r}.')
        if check_int('warmup', warmup, minimum=0) is None:
            raise ConfigError('warmup must be a whole number >= 0, got None.')
        self.warmup = warmup
        self.register_buffer('errors', torch.zeros(2))  # smallest and largest
        self.register_buffer('batches', torch.zeros((), dtype=torch.long))

    def forward(self, found: Tensor) -> Tensor:
        """The range (), with this batch in it; 0 while it is not told.

        Args:
            found: of :func:`error_range`.
        """
        if self.training and torch.is_grad_enabled():
            self._follow(_over_ranks(found).to(self.errors))
        return (self.errors[1] - self.errors[0]) * (self.batches > self.warmup)

    def _follow(self, found: Tensor) -> None:
        known = found.isfinite().all()  # not without rows
        share = torch.where(self.batches > 0, self.momentum, 0.0)
        followed = share * self.errors + (1 - share) * found
        self.errors.copy_(torch.where(known, followed, self.errors))
        self.batches += known


def _over_ranks(found: Tensor) -> Tensor:
    """The range of all ranks' errors, of each one's own.

    Without gradients nobody trains, and the ranks need not be at the same place.
    """
    if not (
        torch.is_grad_enabled()
        and dist.is_available()
        and dist.is_initialized()
        and dist.get_world_size() > 1
    ):
        return found
    ends = torch.stack([found[0], -found[1]])
    dist.all_reduce(ends, op=dist.ReduceOp.MIN)
    return torch.stack([ends[0], -ends[1]])
