"""Teacher-free normalised distillation, of Yang et al. 2022."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import class_numbers, split_target
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.losses._teacher_free import (
    background_of,
    kept_weights,
    labelled_rows,
    mean_of_kept,
    share_of_count,
)
from kd_plugins.registry import LOSSES


def teacher_free_cross_entropy(
    student: Tensor,
    *,
    target: Tensor | None,
    background: int | None = None,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Cross-entropy with a soft label that the student itself gives, row by row.

    .. math:: L_i = -P_i \log p_{i,y}, \quad
        P_i = \mathrm{sg}\left[p_{i,y} + 1 - \frac{1}{M} \sum_j p_{j,y}\right]

    with p the softmax of the logits and sg without gradient: a row counts the more, the
    surer the student is of its label beside the other rows. The mean of P is 1. The
    rows of a process are the batch: the value of a row depends on the others.

    For sigmoid logits p is the probability of the label's own column, and rows without
    a class are left out; of a single column, it is the probability of the answer.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype. For
            sigmoid logits, K is a row without class; for a single column it is the
            binary label, 1 or 0.
        background: label of the rows that are left out: they are nearly sure, and
            would hide how sure the student is of the others; None: there is none.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by, those that are left out among
            them; default those kept.
        reduction: 'none', 'mean' or 'sum', over the rows that are not left out.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError for shapes that do not fit, without target, and for softmax over
        a single column; DistillationError for other labels.
    Source: Yang et al., Rethinking Knowledge Distillation via Cross-Entropy, 2022,
        https://arxiv.org/abs/2208.10139, without its first term, the cross-entropy of
        the labels, which is the student's task loss. Author code:
        https://github.com/yzd-v/cls_KD; with mixed labels it takes the two largest
        entries, which dense labels do not have. The sigmoid form and the background
        that is left out are our additions.

    Example:
        >>> import torch
        >>> student = torch.tensor([[0.6, 0.4], [0.2, 0.8]]).log()  # P is 1.2 and 0.8
        >>> teacher_free_cross_entropy(student, target=torch.tensor([0, 0]))
        tensor(0.9503)
    """
    rows = labelled_rows(student, target, mask, 'tf-NKD', use_sigmoid=use_sigmoid)
    with float32_rows(rows.logits, rows.labels, mask=rows.mask) as (logits, labels):
        columns = logits.shape[1]
        labels = class_numbers(labels, columns if use_sigmoid else columns - 1)
        kept = kept_weights(labels, rows.mask, background)
        if use_sigmoid:
            if columns > 1:  # rows of no class have no label to be sure of
                kept = kept_weights(labels, kept, columns)
            log_probs = _of_sigmoid(logits, labels)
        else:
            log_probs, _ = split_target(logits.log_softmax(dim=1), labels)
        probs = log_probs.detach().exp()
        soft_label = probs + 1 - mean_of_kept(probs, kept)
        return reduce_loss(
            -soft_label * log_probs,
            reduction,
            mask=kept,
            avg_factor=share_of_count(avg_factor, kept, rows.mask),
        )


def _of_sigmoid(logits: Tensor, labels: Tensor) -> Tensor:
    """Log-probability (M,) of the label of each row of sigmoid logits (M, K)."""
    if logits.shape[1] == 1:
        answer = logits.squeeze(1)
        return F.logsigmoid(torch.where(labels == 1, answer, -answer))
    classes = labels.clamp(max=logits.shape[1] - 1)
    return F.logsigmoid(split_target(logits, classes)[0])


@LOSSES.register_module()
class TfNKDLoss(DistillationLoss):
    """Weighted :func:`teacher_free_cross_entropy`, without a teacher.

    The paper's weight is 1; the task loss keeps its weight of 1.

    Args:
        loss_weight: factor of the value, >= 0.
        with_background: whether RoIs of the background count like others; by default
            they are left out.
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`teacher_free_cross_entropy`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        with_background: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.with_background = with_background
        self.use_sigmoid = use_sigmoid

    def forward(
        self,
        student: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`teacher_free_cross_entropy`."""
        return self.loss_weight * teacher_free_cross_entropy(
            student,
            target=target,
            background=background_of(context, self.with_background),
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
