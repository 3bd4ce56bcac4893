"""Relations of pixels across images: within a batch, and to a memory."""

import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import (
    check_float,
    check_int,
    check_pixel_mask,
    check_same_shape,
    check_same_size,
)
from kd_plugins.errors import ShapeError
from kd_plugins.losses._labelled import by_blocks
from kd_plugins.losses._logits import softmax_divergence
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.losses.pair_wise import MAX_ENTRIES, node_kernel

# The pixels of a 512x1024 image at stride 8.
MAX_NODES = 8192
# Its exponential is 0; unlike -inf it gives no NaN for an image that is all dropped.
_EXCLUDED = -1e9


def cross_image_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 0.1,
    max_nodes: int = MAX_NODES,
    max_entries: int = MAX_ENTRIES,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergence of the similarities of pixels to the pixels of each image of a batch.

    .. math:: L_i = \frac{1}{N} \sum_{j=1}^{N} \frac{1}{M} \sum_{r=1}^{M} \mathrm{KL}
        \left( \mathrm{softmax}(F^T_{i,r} F^{T\top}_j / \tau) \,\|\,
        \mathrm{softmax}(F^S_{i,r} F^{S\top}_j / \tau) \right)

    with the M pixels of each image as rows of F, at length 1.

    Args:
        student: feature, shape (N, C, H, W), any float dtype.
        teacher: shape (N, C', H, W): the channels may differ, the size may not.
        temperature: > 0, no unit.
        max_nodes: M at most, >= 1. An image with more pixels is average-pooled by the
            smallest kernel that gives at most ``max_nodes``.
        max_entries: E, the most similarities to compute at a time. Beside a few copies
            of the nodes, N M (C + C') numbers, memory holds at most 8 max(E, N M): the
            N M rows are computed in blocks, and once more in the backward pass.
        mask: shape (N, H, W), 1 keeps and 0 drops a pixel, as a row and as a column.
            An image without pixels is dropped.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images i.

    Returns: nats; a scalar, or shape (N,) for 'none'. Only the images of one process
        are compared with each other.
    Raises: ShapeError if the shapes do not fit; ConfigError for invalid values.
    Source: Yang et al., Cross-Image Relational Knowledge Distillation for Semantic
        Segmentation, CVPR 2022, https://arxiv.org/abs/2204.06986, the mini-batch term.
        The released code pools maps of 256x256 or more by 4. The mask is our
        addition.

    Example:
        >>> import torch
        >>> student = torch.eye(2).view(1, 2, 1, 2)
        >>> teacher = torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(1, 2, 1, 2)
        >>> cross_image_divergence(student, teacher)
        tensor(4.3069)
    """
    check_same_size(student, teacher)
    check_float('temperature', temperature, strict=True)
    check_int('max_nodes', max_nodes)
    check_int('max_entries', max_entries)
    if mask is None:
        mask = student.new_ones(len(student), *student.shape[2:])
    check_pixel_mask(mask, student)
    valid = mask > 0
    kernel = node_kernel(student.shape[2:], None, max_nodes)
    with float32_rows(student, teacher) as (student, teacher):
        student_nodes, teacher_nodes = (
            _nodes(item, valid, kernel) for item in (student, teacher)
        )
        kept = F.max_pool2d(valid[:, None].float(), kernel, ceil_mode=True)
        kept = kept.flatten(1) > 0  # (N, M)
        images = kept.any(dim=1).to(student_nodes)

        def diverge(student_rows: Tensor, teacher_rows: Tensor) -> Tensor:
            log_student, log_teacher = (
                (rows / temperature @ nodes.flatten(0, 1).transpose(0, 1))
                .view(len(rows), *kept.shape)
                .masked_fill(~kept, _EXCLUDED)
                .log_softmax(dim=2)
                for rows, nodes in (
                    (student_rows, student_nodes),
                    (teacher_rows, teacher_nodes),
                )
            )
            each = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=2)
            return each @ images / images.sum().clamp(min=1)  # (rows,)

        block = max(max_entries // max(kept.numel(), 1), 1)
        nodes = (student_nodes.flatten(0, 1), teacher_nodes.flatten(0, 1))
        rows = by_blocks(diverge, nodes, block)
        sums = (rows.view(kept.shape) * kept).sum(dim=1)
        each = sums / kept.sum(dim=1).clamp(min=1)
        return reduce_loss(each, reduction, mask=images, avg_factor=avg_factor)


def _nodes(feature: Tensor, valid: Tensor, kernel: int) -> Tensor:
    """Directions (N, M, C) of the pooled pixels; dropped pixels count as 0."""
    kept = feature.masked_fill(~valid[:, None], 0.0)
    pooled = F.avg_pool2d(kept, kernel, ceil_mode=True)
    return unit_vectors(pooled.flatten(2).transpose(1, 2))


def memory_divergence(
    student: Tensor,
    teacher: Tensor,
    memory: Tensor,
    *,
    temperature: float = 0.1,
    max_entries: int = MAX_ENTRIES,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergence of the similarities to a memory of embeddings, row by row.

    .. math:: L_i = \mathrm{KL} \left( \mathrm{softmax}(f^T_i Q^\top / \tau) \,\|\,
        \mathrm{softmax}(f^S_i Q^\top / \tau) \right)

    Args:
        student: embeddings, shape (R, C), any float dtype; f is their direction.
        teacher: same shape and rows; no gradient is needed.
        memory: Q, shape (M, C), M >= 2, of length 1.
        temperature: > 0, no unit. The paper's temperature of distillation is 1.
        max_entries: the most similarities to compute at a time: if R M is more, they
            are computed in blocks of rows, and once more in the backward pass.
        mask: shape (R,), the weight of a row, 0 to 1; 0 drops it.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (R,) for 'none'.
    Raises: ShapeError if the shapes do not fit; ConfigError for invalid values.
    Source: as of :func:`cross_image_divergence`, the terms of the two memories.

    Example:
        >>> import torch
        >>> student, teacher = torch.eye(2).split(1)
        >>> memory_divergence(student, teacher, torch.eye(2), temperature=1.0)
        tensor(0.4621)
    """
    check_same_shape(student, teacher, layout='RC')
    check_float('temperature', temperature, strict=True)
    check_int('max_entries', max_entries)
    if memory.dim() != 2 or memory.shape[1] != student.shape[1]:
        raise ShapeError(
            f'memory must be (M, {student.shape[1]}), got {tuple(memory.shape)}.'
        )
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        columns = memory.to(student).transpose(0, 1)

        def diverge(student: Tensor, teacher: Tensor) -> Tensor:
            student, teacher = (
                unit_vectors(item) / temperature @ columns
                for item in (student, teacher)
            )
            return softmax_divergence(student, teacher)

        block = max(max_entries // max(len(memory), 1), 1)
        each = by_blocks(diverge, (student, teacher), block)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)
