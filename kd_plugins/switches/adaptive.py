"""The adaptive switch (SwitOKD), of Qian et al. 2022."""

import torch
from torch import Tensor

from kd_plugins.checks import check_same_shape
from kd_plugins.losses._labelled import read_labels
from kd_plugins.losses._reductions import float32_rows, pixel_rows
from kd_plugins.registry import SWITCHES
from kd_plugins.switches._base import Switch


def distances(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    background: int | None = None,
) -> Tensor:
    r"""Distances of two models from each other and from the labels, over all rows.

    .. math:: G = \sum_i \| p^S_i - p^T_i \|_1, \quad
        a = \sum_i \| p^S_i - y_i \|_1, \quad b = \sum_i \| p^T_i - y_i \|_1

    with the labels y as one-hot vectors, and probabilities at temperature 1.

    Args:
        student: logits, (M, K) or maps (N, K, H, W); any float dtype.
        teacher: same shape and rows.
        target: labels, (M,) or (N, H, W); rows of a value outside 0..K-1 are left out.
        mask: same shape, 1 keeps and 0 drops.
        background: column of the background class, whose rows are left out too: most
            RoIs are background, which both models soon know; None: there is none.

    Returns: G, a, b and the number of rows, shape (4,), no unit, without gradient.
    Raises: ShapeError if the shapes differ.
    Source: Qian et al., Switchable Online Knowledge Distillation, ECCV 2022,
        https://arxiv.org/abs/2209.04996. Leaving the background out is our choice.

    Example:
        >>> import torch
        >>> student = torch.tensor([[0.5, 0.5]]).log()
        >>> teacher = torch.tensor([[0.8, 0.2]]).log()
        >>> distances(student, teacher, torch.tensor([0]))
        tensor([0.6000, 1.0000, 0.4000, 1.0000])
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    columns = student.shape[1]
    size = (len(student), *student.shape[2:])
    labels, kept = read_labels(target, mask, size, columns)
    if background is not None:
        kept = kept & (labels != background)
    student, teacher, _ = pixel_rows(student.detach(), teacher.detach(), None)
    labels, weights = labels.flatten(), kept.flatten()
    with float32_rows(student, teacher, mask=weights.float()) as (one, other):
        one, other = one.softmax(dim=1), other.softmax(dim=1)
        truth = torch.nn.functional.one_hot(labels, columns).to(one)
        each = [
            (first - second).abs().sum(dim=1)
            for first, second in ((one, other), (one, truth), (other, truth))
        ]
        rows = torch.stack([*each, torch.ones_like(each[0])])
        return (rows * weights).sum(dim=1)


def adaptive_threshold(student_error: Tensor, teacher_error: Tensor) -> Tensor:
    r"""How far two models may be apart before the teacher waits.

    .. math:: \delta = a - e^{-b / (a + b)} \, b

    Args:
        student_error: a, mean distance of the student from the labels, >= 0.
        teacher_error: b, likewise of the teacher.

    Returns: same shape, no unit; NaN where both are 0.
    Source: as of :func:`distances`, equations of the adaptive switching threshold.

    Example:
        >>> import torch
        >>> adaptive_threshold(torch.tensor(1.0), torch.tensor(0.8))
        tensor(0.4871)
    """
    share = teacher_error / (student_error + teacher_error)
    return student_error - torch.exp(-share) * teacher_error


@SWITCHES.register_module()
class AdaptiveSwitch(Switch):
    """The teacher waits while it is better, and farther off than the threshold.

    Of the means G, a and b of :func:`distances` over all rows: it does not learn if
    G > delta and b < a (expert mode), with delta as of :func:`adaptive_threshold`;
    else it does (learning mode), and without any row. Of two classes it practically
    always does: row by row G is the difference of a and b.
    """

    def statistics(
        self,
        student: Tensor,
        teacher: Tensor,
        target: Tensor,
        *,
        mask: Tensor | None = None,
        background: int | None = None,
    ) -> Tensor:
        """The sums of :func:`distances`."""
        return distances(student, teacher, target, mask=mask, background=background)

    def learns(self, sums: Tensor) -> Tensor:
        """Whether the teacher learns, a scalar of bool."""
        gap, student_error, teacher_error = sums[:3] / sums[3]
        threshold = adaptive_threshold(student_error, teacher_error)
        # Of NaN, without rows or errors, both are False.
        waits: Tensor = (gap > threshold) & (teacher_error < student_error)
        return ~waits
