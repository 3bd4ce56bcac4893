"""Knowledge distillation by softened logits, of Hinton et al. 2015."""

import torch.nn.functional as F
from torch import Tensor

from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._common import (
    check_number,
    check_same_shape,
    float32_rows,
    pixel_rows,
    reduce_loss,
)
from kd_plugins.registry import LOSSES


def softened_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Kullback-Leibler divergence from teacher to student classes, row by row.

    .. math:: L_i = \tau^2 \sum_c p^T_{i,c} \log (p^T_{i,c} / p^S_{i,c})

    with :math:`p = \mathrm{softmax}(z / \tau)`; for sigmoid logits each column is a
    Bernoulli distribution of its own, and their divergences are summed.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        teacher: same shape and rows; no gradient is needed.
        temperature: > 0, no unit; larger is flatter.
        use_sigmoid: whether each column is a question of its own.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if the shapes differ, and for softmax over a single column;
        ConfigError for a temperature <= 0.
    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network,
        2015, https://arxiv.org/abs/1503.02531, section 2. mmdet's
        KnowledgeDistillationKLDivLoss is K times smaller: it also averages over
        classes. The sigmoid form is ours.

    Example:
        >>> import torch
        >>> softened_divergence(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log())
        tensor(0.1308)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_number('temperature', temperature, strict=True)
    if not use_sigmoid and student.shape[1] < 2:
        raise ShapeError(
            f'softmax over {student.shape[1]} column is constant, logits are '
            f'{tuple(student.shape)}. For a sigmoid head set use_sigmoid=True.'
        )
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        student, teacher = student / temperature, teacher / temperature
        if use_sigmoid:
            yes = F.logsigmoid(teacher) - F.logsigmoid(student)
            no = F.logsigmoid(-teacher) - F.logsigmoid(-student)
            terms = teacher.sigmoid() * yes + (-teacher).sigmoid() * no
        else:
            log_teacher = teacher.log_softmax(dim=1)
            terms = log_teacher.exp() * (log_teacher - student.log_softmax(dim=1))
        divergence = terms.sum(dim=1)  # (M,)
        return temperature**2 * reduce_loss(
            divergence, reduction, mask=mask, avg_factor=avg_factor
        )


@LOSSES.register_module()
class KDLoss(DistillationLoss):
    """Weighted :func:`softened_divergence`, whose arguments are documented there.

    Args:
        loss_weight: factor of the value, >= 0.
        temperature: as there.
        use_sigmoid: None asks the view; without an answer, one column means yes.
        reduction: as there.

    Raises: ConfigError for values that cannot be.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 1.0,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.temperature = check_number('temperature', temperature, strict=True)
        self.use_sigmoid = use_sigmoid

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`softened_divergence`."""
        return self.loss_weight * softened_divergence(
            student,
            teacher.detach(),
            temperature=self.temperature,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
