"""Knowledge distillation by softened logits, of Hinton et al. 2015."""

from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import (
    bernoulli_divergence,
    check_columns,
    softened,
    softmax_divergence,
)
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES


def softened_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    student_temperature: float | None = None,
    standardize: bool = False,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Kullback-Leibler divergence from teacher to student classes, row by row.

    .. math:: L_i = \tau^2 \sum_c p^T_{i,c} \log (p^T_{i,c} / p^S_{i,c})

    with :math:`p = \mathrm{softmax}(z / \tau)`; for sigmoid logits each column is a
    Bernoulli distribution, and the divergences of the columns are summed. Where the
    student has a temperature of its own, the factor is the square of that.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        teacher: same shape and rows; no gradient is needed.
        temperature: > 0, no unit; larger is flatter.
        student_temperature: of the student alone, > 0; None: the same. At 1 it is
            generalized distillation (Lopez-Paz et al., ICLR 2016,
            https://arxiv.org/abs/1511.03643, eq. 6) but for a constant, the entropy of
            the teacher; its released code, not the paper, multiplies by the square of
            ``temperature``.
        standardize: first scale each row of both to mean 0 and standard deviation 1, so
            that the student learns only the shape of the logits (Sun et al., CVPR 2024,
            https://arxiv.org/abs/2403.01427); for softmax of three classes or more.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if the shapes differ, for softmax over a single column, and for
        ``standardize`` of fewer than three; ConfigError for a temperature <= 0, and for
        ``standardize`` of sigmoid logits.
    Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network,
        2015, https://arxiv.org/abs/1503.02531, section 2. mmdet's
        KnowledgeDistillationKLDivLoss is K times smaller: it also averages over
        classes. The sigmoid form is our addition.

    Example:
        >>> import torch
        >>> softened_divergence(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log())
        tensor(0.1308)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_float('temperature', temperature, strict=True)
    if student_temperature is None:
        student_temperature = temperature
    check_float('student_temperature', student_temperature, strict=True)
    check_columns(student, use_sigmoid, standardize)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        student = softened(student, student_temperature, standardize)
        teacher = softened(teacher, temperature, standardize)
        if use_sigmoid:
            divergence = bernoulli_divergence(student, teacher).sum(dim=1)  # (M,)
        else:
            divergence = softmax_divergence(student, teacher)
        return student_temperature**2 * reduce_loss(
            divergence, reduction, mask=mask, avg_factor=avg_factor
        )


@LOSSES.register_module()
class KDLoss(DistillationLoss):
    """Weighted :func:`softened_divergence`.

    Args:
        loss_weight: factor of the value, >= 0.
        standardize: as of the function (its authors: temperature 2 and a weight of 9,
            with a task loss of weight 0.1).
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`softened_divergence`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 1.0,
        student_temperature: float | None = None,
        standardize: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.student_temperature = (
            None
            if student_temperature is None
            else check_float('student_temperature', student_temperature, strict=True)
        )
        self.standardize = standardize
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
            student_temperature=self.student_temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
