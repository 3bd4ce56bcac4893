"""Class imitation of CrossKD, of Wang et al. 2024: a focal loss of soft labels."""

import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES


def quality_focal_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Binary cross-entropy, weighted by the distance of the probabilities.

    .. math:: L_i = \sum_k |p_{i,k} - q_{i,k}|^\beta \,
        \bigl(-q_{i,k} \log p_{i,k} - (1 - q_{i,k}) \log (1 - p_{i,k})\bigr)

    with the student's :math:`p = \sigma(z^S)` and the teacher's
    :math:`q = \sigma(z^T)`. It is 0 where they agree.

    Args:
        student: sigmoid logits, shape (M, K), or maps (N, K, H, W) whose
            pixels are rows; any float dtype.
        teacher: same shape and rows; no gradient is needed.
        beta: >= 1, no unit; a larger one stresses large distances.
        mask: shape (M,) or (N, H, W), the weight of a row, >= 0; 0 drops it.
        avg_factor: number that 'mean' divides by; default the sum of the weights.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats, summed over the classes; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for a beta < 1.
    Source: Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object
        Detection, CVPR 2024, https://arxiv.org/abs/2306.11369. The form is the quality
        focal loss of Li et al., 2020, https://arxiv.org/abs/2006.04388, with the
        teacher's probabilities as labels, where beta is 2.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[3.0]]).log()  # 3/4
        >>> quality_focal_distance(torch.zeros(1, 1), teacher)
        tensor(0.1733)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_float('beta', beta, minimum=1.0)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        target = teacher.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(student, target, reduction='none')
        focus = (student.sigmoid() - target).abs() ** beta
        each = (focus * entropy).sum(dim=1)  # (M,)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class CrossKDLoss(DistillationLoss):
    """Weighted :func:`quality_focal_distance`.

    It is for ``view='cross.logits'``, whose rows are all points or anchors. A second
    pair compares boxes, by :class:`~kd_plugins.losses.BoxIoULoss` or
    :class:`~kd_plugins.losses.LDLoss`.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`quality_focal_distance`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        beta: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.beta = check_float('beta', beta, minimum=1.0)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`quality_focal_distance`.

        Raises: ConfigError for logits of one softmax.
        """
        if context is not None and context.activation == 'softmax':
            raise ConfigError(
                'CrossKDLoss needs one sigmoid for each class, and '
                "these are logits of one softmax. Use view='cross.logits', or KDLoss."
            )
        return self.loss_weight * quality_focal_distance(
            student,
            teacher.detach(),
            beta=self.beta,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
