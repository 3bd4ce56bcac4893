"""Decoupled knowledge distillation, of Zhao et al. 2022."""

import torch
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import (
    bernoulli_divergence,
    check_columns,
    class_numbers,
    label_rows,
    softened,
    softmax_divergence,
    split_target,
)
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES


def decoupled_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    target: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 0.25,
    temperature: float = 1.0,
    standardize: bool = False,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergences of the labelled class and of the other classes, row by row.

    .. math:: L_i = \tau^2 \left( \alpha \, \mathrm{KL}(b^T_i \,\|\, b^S_i)
        + \beta \, \mathrm{KL}(q^T_i \,\|\, q^S_i) \right)

    with :math:`b = (p_y, 1 - p_y)` for the target class (TCKD) and q the softmax over
    the other classes (NCKD). Hinton's divergence is the same sum with weights 1 and
    :math:`1 - p^T_y`: there a teacher that is sure of the target suppresses the second
    term.

    For sigmoid logits, a row with a label compares the column of its label as a
    Bernoulli distribution (TCKD), and the other columns by a softmax (NCKD). Rows
    without a label, and rows of a single column, have no NCKD: all their columns are
    Bernoulli distributions, with weight alpha.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        teacher: same shape and rows; no gradient is needed.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype. For
            sigmoid logits, K is a row without class, None means that no row has one,
            and a single column needs no target.
        alpha: weight of TCKD, >= 0.
        beta: weight of NCKD, >= 0; of two classes NCKD is 0.
        temperature: > 0, no unit; larger is flatter.
        standardize: as in :func:`softened_divergence`.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if shapes differ, and for softmax over a single column or without
        target; ConfigError for invalid numbers; either for logits that cannot be
        standardised; DistillationError for other labels.
    Source: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022,
        https://arxiv.org/abs/2203.08679. Author code:
        https://github.com/megvii-research/mdistiller, which masks the target by
        subtracting 1000 from its logit; here it is left out. The sigmoid form is our
        addition.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0, 0, 0]]), torch.tensor([[2.0, 1, 0]])
        >>> decoupled_divergence(student, teacher, target=torch.tensor([0]), beta=8.0)
        tensor(0.9042)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    check_float('alpha', alpha)
    check_float('beta', beta)
    check_float('temperature', temperature, strict=True)
    shape = student.shape
    student, teacher, mask = pixel_rows(student, teacher, mask)
    columns = student.shape[1]
    check_columns(student, use_sigmoid, standardize)
    if use_sigmoid and (target is None or columns == 1):
        labels = torch.full((len(student),), columns, device=student.device)
    else:
        labels = label_rows(target, shape, 'DKD')
    with float32_rows(student, teacher, labels, mask=mask) as (student, teacher, rows):
        labels = class_numbers(rows, columns if use_sigmoid else columns - 1)
        student = softened(student, temperature, standardize)
        teacher = softened(teacher, temperature, standardize)
        if use_sigmoid:
            each = _of_sigmoid(student, teacher, labels, alpha, beta)
        else:
            student_target, student_others = split_target(student, labels)
            teacher_target, teacher_others = split_target(teacher, labels)
            # log(p_y / (1 - p_y)), the logit of the target against all other classes.
            student_target = student_target - student_others.logsumexp(1)
            teacher_target = teacher_target - teacher_others.logsumexp(1)
            each = alpha * bernoulli_divergence(student_target, teacher_target)
            each = each + beta * softmax_divergence(student_others, teacher_others)
        return temperature**2 * reduce_loss(
            each, reduction, mask=mask, avg_factor=avg_factor
        )


def _of_sigmoid(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, beta: float
) -> Tensor:
    """The loss of each row, shape (M,)."""
    divergence = bernoulli_divergence(student, teacher)  # (M, K)
    columns = student.shape[1]
    if columns == 1:
        return alpha * divergence.sum(dim=1)
    classes = labels.clamp(max=columns - 1)
    target, _ = split_target(divergence, classes)
    _, student_others = split_target(student, classes)
    _, teacher_others = split_target(teacher, classes)
    labelled = alpha * target + beta * softmax_divergence(
        student_others, teacher_others
    )
    return labelled.where(labels < columns, alpha * divergence.sum(dim=1))


@LOSSES.register_module()
class DKDLoss(DistillationLoss):
    """Weighted :func:`decoupled_divergence`.

    The paper's values, alpha 1 everywhere: for CIFAR-100 beta 8 (2 or 6 for some pairs)
    and temperature 4, the weight rising over 20 epochs as ``dict(type='LinearRamp',
    start=0.05, end=1, until=19, by_epoch=True)`` does; for ImageNet beta 0.5 or 2, and
    for a detector's RoIs 0.25, the default here; there the temperature is 1.

    Args:
        loss_weight: factor of the value, >= 0.
        use_sigmoid: None: as the view says; otherwise True for a single column. With
            True the view may have no labels.

    Other arguments: as of :func:`decoupled_divergence`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        alpha: float = 1.0,
        beta: float = 0.25,
        temperature: float = 1.0,
        standardize: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.alpha = check_float('alpha', alpha)
        self.beta = check_float('beta', beta)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.standardize = standardize
        self.use_sigmoid = use_sigmoid

    @property
    def needs_target(self) -> bool:
        """Not if ``use_sigmoid`` is True."""
        return self.use_sigmoid is not True

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`decoupled_divergence`."""
        return self.loss_weight * decoupled_divergence(
            student,
            teacher.detach(),
            target=target,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
