"""Gradient-based attention transfer of Zagoruyko and Komodakis 2017."""

from torch import Tensor

from kd_plugins.checks import check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def gradient_attention_transfer(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Distance between the input gradients of two models' losses, image by image.

    .. math:: L_n = \|J^S_n - J^T_n\|_2, \qquad J = \partial L_{CE} / \partial x

    Args:
        student: J, the gradient of the student's task loss by its input, with a graph
            (``create_graph``), shape (N, C, H, W), any float dtype.
        teacher: J of the teacher, same shape; no graph is needed.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: a scalar, or shape (N,) for 'none'; in the unit of J. If the two are
        equal, its gradient is 0.
    Raises: ShapeError if the shapes differ.
    Source: Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017,
        https://arxiv.org/abs/1612.03928, the gradient-based form, before its factor
        beta / 2. No author code.

    Example:
        >>> import torch
        >>> student = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
        >>> gradient_attention_transfer(student, torch.zeros(1, 1, 1, 2))
        tensor(5.)
    """
    check_same_shape(student, teacher, layout='NCHW')
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        distance = (student - teacher).flatten(1).norm(dim=1)
        return reduce_loss(distance, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class GradientATLoss(DistillationLoss):
    """Weighted :func:`gradient_attention_transfer`, of a ``SegGradientView``.

    It needs a gradient of a gradient: a step takes a second backward pass through the
    student, which each of the student's layers must support.

    Args:
        loss_weight: factor of the value, >= 0 (the paper's beta / 2).

    Other arguments: as of :func:`gradient_attention_transfer`.
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
        """The loss of these images; see :func:`gradient_attention_transfer`."""
        return self.loss_weight * gradient_attention_transfer(
            student,
            teacher.detach(),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
