"""Pair-wise distillation: similarity of the pixels of a map, of Liu et al. 2019."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import (
    check_choice,
    check_int,
    check_optional_int,
    check_same_size,
)
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.registry import LOSSES

POOLS = ('average', 'max')
# Affinities that are computed at a time: 4 Mi, 16 MiB of float32 for each tensor.
MAX_ENTRIES = 2**22


def pair_wise_affinity(
    student: Tensor,
    teacher: Tensor,
    *,
    pool_kernel: int | None = None,
    max_nodes: int | None = None,
    pool: str = 'average',
    connection_range: int | None = None,
    detach_norm: bool = False,
    max_entries: int = MAX_ENTRIES,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Mean squared difference between the affinities of nodes, image by image.

    .. math:: L_n = \frac{1}{M \alpha} \sum_{i=1}^{M} \sum_{j \in A_i}
        (a^S_{ij} - a^T_{ij})^2, \qquad
        a_{ij} = \frac{f_i^\top f_j}{\|f_i\|_2 \|f_j\|_2}

    A node is a pooled square of pixels; :math:`A_i` are the :math:`\alpha` nodes that
    are nearest to i on the grid, including i; by default all M.

    Args:
        student: feature, shape (N, C, H, W), any float dtype.
        teacher: shape (N, C', H, W): the channels may differ, the size may not.
        pool_kernel: side of a node, in pixels of the map, >= 1; default 2.
        max_nodes: instead of ``pool_kernel``, the most nodes: the smallest kernel that
            gives at most ``max_nodes`` is used.
        pool: 'average' or 'max' over the pixels of a node; nodes at the lower and right
            border may be smaller.
        connection_range: alpha, >= 1; more than the number of nodes means all.
        detach_norm: no gradient through the norms, as in the released code.
        max_entries: E, the most affinities to compute at a time. Beside a few copies of
            the nodes, N M (C + C') numbers, memory holds at most 8 max(E, N M)
            affinities, in float32: if there are more than E pairs, rows of the
            affinities are computed in chunks, and once more in the backward pass.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: no unit, between 0 and 4; a scalar, or shape (N,) for 'none'.
    Raises: ShapeError if batch size, height or width differ; ConfigError for invalid
        values, and for both ``pool_kernel`` and ``max_nodes``.
    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation,
        CVPR 2019, https://arxiv.org/abs/1903.04197v1 (all pairs), and for Dense
        Prediction, https://arxiv.org/abs/1903.04197 (nodes and their range). The
        released code takes the maximum over half the map, which leaves 2x2 or 3x3
        nodes, and detaches the norms.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 2, 1, 2)
        >>> teacher = torch.eye(2).view(1, 2, 1, 2)
        >>> pair_wise_affinity(student, teacher, pool_kernel=1)
        tensor(0.5000)
    """
    check_same_size(student, teacher)
    check_choice('pool', pool, POOLS)
    for name, value in (
        ('pool_kernel', pool_kernel),
        ('max_nodes', max_nodes),
        ('connection_range', connection_range),
    ):
        check_optional_int(name, value)
    check_int('max_entries', max_entries)
    kernel = node_kernel(student.shape[2:], pool_kernel, max_nodes)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        height, width = (math.ceil(side / kernel) for side in student.shape[2:])
        count = height * width
        alpha = count if connection_range is None else min(connection_range, count)
        student, teacher = (
            _nodes(item, kernel, pool, detach_norm) for item in (student, teacher)
        )
        each = _mean_difference(student, teacher, (height, width), alpha, max_entries)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def node_kernel(
    size: torch.Size, pool_kernel: int | None, max_nodes: int | None
) -> int:
    """Side of a node, no longer than the map.

    Args:
        size: height and width of the map.
        pool_kernel: as configured.
        max_nodes: as configured.

    Raises: ConfigError if both are given.

    Example:
        >>> import torch
        >>> node_kernel(torch.Size([64, 128]), None, 900)
        4
    """
    if pool_kernel is not None and max_nodes is not None:
        raise ConfigError(
            f'pool_kernel={pool_kernel} and max_nodes={max_nodes} exclude each other: '
            'remove one.'
        )
    if max_nodes is None:
        return min(2 if pool_kernel is None else pool_kernel, max(size))
    kernel = 1
    while math.ceil(size[0] / kernel) * math.ceil(size[1] / kernel) > max_nodes:
        kernel += 1
    return kernel


def _nodes(feature: Tensor, kernel: int, pool: str, detach_norm: bool) -> Tensor:
    """Directions (N, M, C) of the nodes, each of length 1; 0 for a zero node."""
    if pool == 'max':
        feature = F.max_pool2d(feature, kernel, ceil_mode=True)
    else:
        feature = F.avg_pool2d(feature, kernel, ceil_mode=True)
    nodes = feature.flatten(2).transpose(1, 2)
    return unit_vectors(nodes, detach_norm=detach_norm)


def _mean_difference(
    student: Tensor,
    teacher: Tensor,
    grid: tuple[int, int],
    alpha: int,
    max_entries: int,
) -> Tensor:
    """Mean squared difference of the affinities, shape (N,), some rows at a time."""
    images, count, _ = student.shape
    rows = max(max_entries // max(images * count, 1), 1)
    if rows >= count:
        sums = _difference(student, teacher, 0, count, grid, alpha)
        return sums / max(count * alpha, 1)
    # Not above: with it torch imports sympy, which takes a quarter of a second.
    from torch.utils.checkpoint import checkpoint

    chunks = [
        checkpoint(
            _difference,
            *(student, teacher, start, min(start + rows, count), grid, alpha),
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for start in range(0, count, rows)
    ]
    return torch.stack(chunks).sum(dim=0) / (count * alpha)


def _difference(
    student: Tensor,
    teacher: Tensor,
    start: int,
    end: int,
    grid: tuple[int, int],
    alpha: int,
) -> Tensor:
    """Sum of the squared differences in these rows of the affinities, shape (N,)."""
    near = None
    if alpha < student.shape[1]:  # first, to free its memory before the affinities
        near = _neighbours(grid, start, end, alpha, student.device)
    student_affinities, teacher_affinities = (
        item[:, start:end] @ item.transpose(1, 2) for item in (student, teacher)
    )
    squared = (student_affinities - teacher_affinities).square()
    return (squared if near is None else squared * near).sum(dim=(1, 2))


def _neighbours(
    grid: tuple[int, int], start: int, end: int, alpha: int, device: torch.device
) -> Tensor:
    """Mask (end - start, M): the alpha nodes nearest to each of these nodes."""
    height, width = grid
    count = height * width
    nodes = torch.arange(count, device=device, dtype=torch.int32)
    rows, columns = nodes // width, nodes % width
    squared = (rows[start:end, None] - rows).square()
    squared += (columns[start:end, None] - columns).square()
    # Of equally near nodes the first, on every device.
    order = squared.double()
    order += nodes / count
    nearest = order.topk(alpha, dim=1, largest=False, sorted=False).values
    return order <= nearest.amax(dim=1, keepdim=True)


@LOSSES.register_module()
class PairWiseLoss(DistillationLoss):
    """Weighted :func:`pair_wise_affinity`.

    Args:
        loss_weight: factor of the value, >= 0 (the paper: 10, its own script: 0.5).

    Other arguments: as of :func:`pair_wise_affinity`.
    Raises: ConfigError for invalid values.
    """

    same_channels = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        pool_kernel: int | None = None,
        max_nodes: int | None = None,
        pool: str = 'average',
        connection_range: int | None = None,
        detach_norm: bool = False,
        max_entries: int = MAX_ENTRIES,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.pool_kernel = check_optional_int('pool_kernel', pool_kernel)
        self.max_nodes = check_optional_int('max_nodes', max_nodes)
        node_kernel(torch.Size([1, 1]), pool_kernel, max_nodes)  # not both
        self.pool = check_choice('pool', pool, POOLS)
        self.connection_range = check_optional_int('connection_range', connection_range)
        self.detach_norm = detach_norm
        self.max_entries = check_int('max_entries', max_entries)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these images; see :func:`pair_wise_affinity`."""
        return self.loss_weight * pair_wise_affinity(
            student,
            teacher.detach(),
            pool_kernel=self.pool_kernel,
            max_nodes=self.max_nodes,
            pool=self.pool,
            connection_range=self.connection_range,
            detach_norm=self.detach_norm,
            max_entries=self.max_entries,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
