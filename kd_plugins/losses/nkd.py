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
    r"""Cross-entropy of the labelled class, and that among the others, row by row.

    .. math:: L_i = -p^T_{i,y} \log p^S_{i,y}
        - \gamma \tau^2 \sum_{c \ne y} q^T_{i,c} \log q^S_{i,c}

    with p the softmax of the plain logits, and q the softmax over the other classes
    alone, softened. Where the two agree it is not 0, nor is its first term at its
    minimum: that draws the target to 1, as a label of weight :math:`p^T_y` does.

    Of sigmoid logits each column is a question with a known answer, whose probability p
    the first term takes, summed over the columns; the second is that of the columns but
    the label's, and 0 where there is no label, or only one column.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        teacher: same shape and rows; no gradient is needed.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype. For
            sigmoid K is a row of no class; of a single column it is the answer, 1 for
            yes and 0 for no.
        gamma: weight of the second term, >= 0; of two classes that term is 0.
        temperature: of the second term, > 0, no unit; larger is flatter.
        standardize: as in :func:`softened_divergence`, in both terms.
        use_sigmoid: whether each column is a question of its own.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if shapes differ, without target, and for softmax over a single
        column; ConfigError for numbers that cannot be; either for logits that cannot be
        standardised; DistillationError for other labels.
    Source: Yang et al., Rethinking Knowledge Distillation via Cross-Entropy, 2022,
        https://arxiv.org/abs/2208.10139, without its first term, the cross-entropy of
        the labels, which is the student's task loss. Author code:
        https://github.com/yzd-v/cls_KD, an earlier commit of which left the target
        among the other classes. The sigmoid form is ours.

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
            each = _of_answers(student, teacher, labels)
        else:
            own, its_own = (
                split_target(item.log_softmax(dim=1), labels)[0]
                for item in (student, teacher)
            )
            each = -its_own.exp() * own  # (M,)
        if columns > 1:
            some = labels.clamp(max=columns - 1)
            (_, others), (_, its_others) = (
                split_target(item / temperature, some) for item in (student, teacher)
            )
            rest = -(its_others.softmax(dim=1) * others.log_softmax(dim=1)).sum(dim=1)
            each = each + gamma * temperature**2 * rest * (labels < columns)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _of_answers(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Of yes-or-no questions, the first term of each row, shape (M,)."""
    columns = torch.arange(student.shape[1], device=student.device)
    # A single column is told its answer, several are told which of them is meant.
    yes = labels[:, None] == (columns if len(columns) > 1 else columns + 1)
    student, teacher = (torch.where(yes, item, -item) for item in (student, teacher))
    return -(teacher.sigmoid() * F.logsigmoid(student)).sum(dim=1)


@LOSSES.register_module()
class NKDLoss(DistillationLoss):
    """Weighted :func:`normalized_cross_entropy`, whose arguments are documented there.

    The paper's values: gamma 1.5 and temperature 1 for ImageNet, the defaults here;
    gamma 3.5 and temperature 3 for CIFAR-100. The task loss keeps its weight of 1.

    Args:
        loss_weight: factor of the value, >= 0.
        gamma: as there.
        temperature: as there.
        standardize: as there.
        use_sigmoid: None asks the view; without an answer, one column means yes.
        reduction: as there.

    Raises: ConfigError for values that cannot be.
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
