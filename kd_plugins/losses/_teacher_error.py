"""The range of a teacher's errors, and the reliability of each output."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kd_plugins.checks import check_choice, check_float, check_int, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._reductions import float32_rows, pixel_rows

LAYOUT = 'RD|NCHW'
NORMALIZERS = ('running', 'batch')


def teacher_reliability(
    error: Tensor, normalizer: float | Tensor, clamp: bool = True
) -> Tensor:
    """Reliability of each row of the teacher, from its squared error (R,).

    Args:
        error: >= 0.
        normalizer: the range of the errors; if it is not > 0, every reliability is 1.
        clamp: to 0 and 1.

    Example:
        >>> teacher_reliability(torch.tensor([1.0, 3.0]), 2.0, clamp=False)
        tensor([ 0.5000, -0.5000])
    """
    if isinstance(normalizer, Tensor):
        scale = normalizer.to(error)
    else:
        scale = error.new_full((), normalizer)
    reliability = torch.where(scale > 0, 1 - error / scale, torch.ones_like(error))
    return reliability.clamp(0, 1) if clamp else reliability


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
        percentile: above 0. Below 100, the largest error is this percentile of the
            errors, which ignores outliers.
        mask: shape (R,) or (N, H, W), 1 keeps and 0 drops a row.

    Returns: (2,), squared units; infinity and minus infinity if no row is kept.
    Raises: ShapeError if the shapes differ.

    Example:
        >>> error_range(torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(3, 1))
        tensor([0., 4.])
    """
    check_same_shape(teacher, target, layout=LAYOUT, names=('teacher', 'target'))
    teacher, target, mask = pixel_rows(teacher.detach(), target.detach(), mask)
    with float32_rows(teacher, target, mask=mask) as (teacher, target):
        error = (teacher - target).square().sum(dim=1)  # (R,)
        return extremes_of(error, percentile=percentile, mask=mask)


def extremes_of(
    error: Tensor, *, percentile: float = 100.0, mask: Tensor | None = None
) -> Tensor:
    """As :func:`error_range`, of the errors (R,) themselves, float32 or float64."""
    kept = torch.ones_like(error) if mask is None else mask
    dropped, count = kept <= 0, (kept > 0).sum()
    end = error.new_full((1,), math.inf)  # the smallest of no rows
    ascending = torch.cat([error.masked_fill(dropped, math.inf), end])
    if percentile == 100:
        highest = torch.cat([error.masked_fill(dropped, -math.inf), -end]).amax()
    else:
        last = (count.double() * (percentile / 100)).ceil().long() - 1
        highest = ascending.sort().values.gather(0, last.clamp(min=0)[None])[0]
        highest = torch.where(count > 0, highest, -end[0])
    return torch.stack([ascending.amin(), highest])


def check_normalizer(normalizer: float | str, percentile: float) -> float | str:
    """Refuse what is neither a number above 0 nor a name, and a percentile beyond 100.

    Raises: ConfigError.
    """
    if check_float('percentile', percentile, strict=True) > 100:
        raise ConfigError(f'percentile must be at most 100, got {percentile!r}.')
    if isinstance(normalizer, str):
        return check_choice('normalizer', normalizer, NORMALIZERS)
    if percentile != 100:
        raise ConfigError(
            f"percentile={percentile} applies to normalizer='batch' or 'running', and "
            f"normalizer is {normalizer!r}. Remove percentile, or use 'running'."
        )
    return check_float('normalizer', normalizer, strict=True)


class BatchRange(nn.Module):
    """Largest minus smallest error of a batch, over all ranks."""

    def forward(self, extremes: Tensor) -> Tensor:
        """The range (); not > 0 if no row is kept.

        Args:
            extremes: of :func:`error_range`.
        """
        extremes = _over_ranks(extremes)
        return extremes[1] - extremes[0]


class RunningRange(nn.Module):
    """Largest minus smallest error of the batches so far, over all ranks.

    It is updated in training with gradients only; its buffers are in the checkpoint.

    Args:
        momentum: >= 0 and below 1, the share of the previous value.
        warmup: batches with rows, >= 0, until the range is used.

    Raises: ConfigError for invalid values.
    """

    errors: Tensor
    batches: Tensor

    def __init__(self, momentum: float, warmup: int) -> None:
        super().__init__()
        self.momentum = check_float('momentum', momentum)
        if self.momentum >= 1:
            raise ConfigError(f'momentum must be below 1, got {momentum!r}.')
        self.warmup = check_int('warmup', warmup, minimum=0)
        self.register_buffer('errors', torch.zeros(2))  # smallest and largest
        self.register_buffer('batches', torch.zeros((), dtype=torch.long))

    def forward(self, extremes: Tensor) -> Tensor:
        """The range (), with this batch in it; 0 during the warmup.

        Args:
            extremes: of :func:`error_range`.
        """
        if self.training and torch.is_grad_enabled():
            self._update(_over_ranks(extremes).to(self.errors))
        return (self.errors[1] - self.errors[0]) * (self.batches > self.warmup)

    def _update(self, extremes: Tensor) -> None:
        has_rows = extremes.isfinite().all()
        share = torch.where(self.batches > 0, self.momentum, 0.0)
        updated = share * self.errors + (1 - share) * extremes
        self.errors.copy_(torch.where(has_rows, updated, self.errors))
        self.batches += has_rows


def _over_ranks(extremes: Tensor) -> Tensor:
    """The smallest and the largest error of all ranks.

    Without gradients the ranks may call it at different times: each keeps its own.
    """
    if not (
        torch.is_grad_enabled()
        and dist.is_available()
        and dist.is_initialized()
        and dist.get_world_size() > 1
    ):
        return extremes
    ends = torch.stack([extremes[0], -extremes[1]])
    dist.all_reduce(ends, op=dist.ReduceOp.MIN)
    return torch.stack([ends[0], -ends[1]])
