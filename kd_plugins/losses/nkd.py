"""Normalised knowledge distillation, of Yang et al. 2022."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import (
    check_columns,
    class_numbers,
    label_rows,
    split_target,
    standardized,
)
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES


def normalized_cross_entropy(
    student: Tensor,
    teacher: Tensor,
    *,
    target: Tensor | None,
    gamma: float = 1.5,
    temperature: float = 1.0,
    standardize: bool = False,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Cross-entropies of the labelled class and of the other classes, row by row.

    .. math:: L_i = -p^T_{i,y} \log p^S_{i,y}
        - \gamma \tau^2 \sum_{c \ne y} q^T_{i,c} \log q^S_{i,c}

    with p the softmax of the logits, and q the softened softmax over the other classes.
    If the two agree it is not 0, and its first term is not at its minimum: that term
    draws the target's probability to 1, like a label of weight :math:`p^T_y`.

    For sigmoid logits each column has a known binary label, with p the probability of
    that label, and the first term is summed over the columns. The second term is that
    of the columns other than the label's; it is 0 without a label, or with one column.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        teacher: same shape and rows; no gradient is needed.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype. For
            sigmoid logits, K is a row without class; for a single column it is the
            binary label, 1 or 0.
        gamma: weight of the second term, >= 0; of two classes that term is 0.
        temperature: of the second term, > 0, no unit; larger is flatter.
        standardize: as in :func:`softened_divergence`, in both terms.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if shapes differ, without target, and for softmax over a single
        column; ConfigError for invalid numbers; either for logits that cannot be
        standardised; DistillationError for other labels.
    Source: Yang et al., Rethinking Knowledge Distillation via Cross-Entropy, 2022,
        https://arxiv.org/abs/2208.10139, without its first term, the cross-entropy of
        the labels, which is the student's task loss. Author code:
        https://github.com/yzd-v/cls_KD, an earlier commit of which kept the target
        among the other classes. The sigmoid form is our addition.

    Example:
        >>> student, teacher = torch.tensor([[1.0, 0, 0]]), torch.tensor([[2.0, 1, 0]])
        >>> normalized_cross_entropy(student, teacher, target=torch.tensor([0]))
        tensor(1.4066)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    check_float('gamma', gamma)
    check_float('temperature', temperature, strict=True)
    labels = label_rows(target, student.shape, 'NKD')
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_columns(student, use_sigmoid, standardize)
    columns = student.shape[1]
    with float32_rows(student, teacher, labels, mask=mask) as (student, teacher, rows):
        labels = class_numbers(rows, columns if use_sigmoid else columns - 1)
        if standardize:
            student, teacher = standardized(student), standardized(teacher)
        if use_sigmoid:
            each = _of_sigmoid(student, teacher, labels)
        else:
            log_student, log_teacher = (
                split_target(item.log_softmax(dim=1), labels)[0]
                for item in (student, teacher)
            )
            each = -log_teacher.exp() * log_student  # (M,)
        if columns > 1:
            classes = labels.clamp(max=columns - 1)
            _, student_others = split_target(student / temperature, classes)
            _, teacher_others = split_target(teacher / temperature, classes)
            terms = teacher_others.softmax(dim=1) * student_others.log_softmax(dim=1)
            entropy = -terms.sum(dim=1)
            each = each + gamma * temperature**2 * entropy * (labels < columns)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _of_sigmoid(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """The first term of each row of sigmoid logits, shape (M,)."""
    columns = torch.arange(student.shape[1], device=student.device)
    # The label of a single column is 1 or 0; of several, the index of a column.
    yes = labels[:, None] == (columns if len(columns) > 1 else columns + 1)
    student, teacher = (torch.where(yes, item, -item) for item in (student, teacher))
    return -(teacher.sigmoid() * F.logsigmoid(student)).sum(dim=1)


@LOSSES.register_module()
class NKDLoss(DistillationLoss):
    """Weighted :func:`normalized_cross_entropy`.

    The paper's values: gamma 1.5 and temperature 1 for ImageNet, the defaults here;
    gamma 3.5 and temperature 3 for CIFAR-100. The task loss keeps its weight of 1.

    Args:
        loss_weight: factor of the value, >= 0.
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`normalized_cross_entropy`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        gamma: float = 1.5,
        temperature: float = 1.0,
        standardize: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.gamma = check_float('gamma', gamma)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.standardize = standardize
        self.use_sigmoid = use_sigmoid

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
        """The loss of these rows; see :func:`normalized_cross_entropy`."""
        return self.loss_weight * normalized_cross_entropy(
            student,
            teacher.detach(),
            target=target,
            gamma=self.gamma,
            temperature=self.temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
