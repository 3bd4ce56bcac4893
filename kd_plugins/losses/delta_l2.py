"""Squared distance of box deltas, the baseline of the teacher-bounded loss."""

from torch import Tensor

from kd_plugins.checks import check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def delta_l2(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance between student and teacher boxes, box by box.

    .. math:: L_i = \|s_i - t_i\|^2

    Args:
        student: encoded deltas, shape (R, D), any float dtype; D is 4 for boxes.
        teacher: same shape and rows, encoded alike; no gradient is needed.
        mask: shape (R,), 1 keeps (positives) and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: squared deltas, summed over D; a scalar, or shape (R,) for 'none'.
    Raises: ShapeError if the shapes differ.
    Source: the "L2" row in the regression ablation of Chen et al., Learning Efficient
        Object Detection Models with Knowledge Distillation, NIPS 2017,
        https://papers.nips.cc/paper/6676. No author code.

    Example:
        >>> import torch
        >>> delta_l2(torch.full((2, 4), 0.5), torch.zeros(2, 4))
        tensor(1.)
    """
    check_same_shape(student, teacher, layout='RD')
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        distance = (student - teacher).square().sum(dim=1)  # (R,)
        return reduce_loss(distance, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class DeltaL2Loss(DistillationLoss):
    """Weighted :func:`delta_l2`.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`delta_l2`.
    Raises: ConfigError for invalid values.
    """

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`delta_l2`."""
        return self.loss_weight * delta_l2(
            student,
            teacher.detach(),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
