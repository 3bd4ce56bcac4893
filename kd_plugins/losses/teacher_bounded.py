"""Box regression bounded by the teacher's error, of Chen et al. 2017."""

import torch
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def teacher_bounded_regression(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    margin: float = 0.0,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared error of the student's boxes, where it is worse than the teacher's.

    .. math:: L_i = \begin{cases}
        \|s_i - y_i\|^2 & \text{if } \|s_i - y_i\|^2 + m > \|t_i - y_i\|^2 \\
        0 & \text{otherwise} \end{cases}

    The comparison is strict, box by box, and takes no gradient. The teacher is only a
    bound: a student with the same error has no loss, whatever its boxes.

    Args:
        student: encoded deltas, shape (R, D), any float dtype; D is 4 for boxes.
        teacher: same shape and rows, encoded alike; no gradient is needed.
        target: deltas of the ground truth, same shape, encoded alike.
        margin: >= 0, squared deltas; the student must be better by this margin.
        mask: shape (R,), 1 for positives and 0 for rows without a ground truth.
        avg_factor: number of rows 'mean' divides by. The paper's is all sampled rows,
            negatives included; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: squared deltas, summed over D; a scalar, or shape (R,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for a negative margin.
    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, https://papers.nips.cc/paper/6676, L_b. No author
        code; the paper gives no number for the margin.

    Example:
        >>> import torch
        >>> target = torch.zeros(1, 4)
        >>> teacher_bounded_regression(target + 0.5, target + 0.1, target)
        tensor(1.)
        >>> teacher_bounded_regression(target + 0.1, target + 0.5, target)
        tensor(0.)
    """
    check_same_shape(student, teacher, layout='RD')
    check_same_shape(student, target, layout='RD', names=('student', 'target'))
    check_float('margin', margin)
    with float32_rows(student, teacher, target, mask=mask) as rows:
        student, teacher, target = rows
        student_error = (student - target).square().sum(dim=1)  # (R,)
        teacher_error = (teacher - target).square().sum(dim=1)
        worse = student_error.detach() + margin > teacher_error
        bounded = torch.where(worse, student_error, torch.zeros_like(student_error))
        return reduce_loss(bounded, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class TeacherBoundedLoss(DistillationLoss):
    """Weighted :func:`teacher_bounded_regression`.

    Args:
        loss_weight: factor of the value, >= 0 (the paper's nu, quoted as 0.5).

    Other arguments: as of :func:`teacher_bounded_regression`.
    Raises: ConfigError for invalid values, and for a pair without targets.
    """

    def __init__(
        self, loss_weight: float = 1.0, margin: float = 0.0, reduction: str = 'mean'
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.margin = check_float('margin', margin)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`teacher_bounded_regression`."""
        if target is None:
            raise ConfigError(
                'TeacherBoundedLoss compares errors and needs targets, this pair gives '
                "none. Read them with view='rpn.deltas', 'head.deltas' or 'roi.deltas' "
                "(with roi_source='student', the default)."
            )
        return self.loss_weight * teacher_bounded_regression(
            student,
            teacher.detach(),
            target.detach(),
            margin=self.margin,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
