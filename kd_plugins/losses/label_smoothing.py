"""Label smoothing, of Szegedy et al. 2016, as Mueller et al. 2019 study it."""

from torch import Tensor

from kd_plugins.checks import check_float
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._logits import class_numbers, split_target
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.losses._teacher_free import check_softmax, labelled_rows
from kd_plugins.registry import LOSSES


def label_smoothed_cross_entropy(
    student: Tensor,
    *,
    target: Tensor | None,
    smoothing: float = 0.1,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Cross-entropy with a label that leaves a share to all classes, row by row.

    .. math:: L_i = -(1 - a) \log p_{i,y} - \frac{a}{K} \sum_c \log p_{i,c}

    The share a is divided over all K classes, the label's own and the background among
    them. At its minimum the value is the entropy of that label.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype.
        smoothing: the share a, from 0 (the plain cross-entropy) to 1, no unit.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError for shapes that do not fit, without target, and for a single
        column; ConfigError for a share that is none; DistillationError for other
        labels.
    Source: Mueller, Kornblith and Hinton, When Does Label Smoothing Help?, NeurIPS
        2019, https://arxiv.org/abs/1906.02629. Others divide the share over the K - 1
        other classes.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0, 0.0]])
        >>> label_smoothed_cross_entropy(student, target=torch.tensor([0]))
        tensor(0.6181)
    """
    check_share('smoothing', smoothing)
    rows = labelled_rows(student, target, mask, 'label smoothing')
    with float32_rows(rows.logits, rows.labels, mask=rows.mask) as (logits, labels):
        labels = class_numbers(labels, logits.shape[1] - 1)
        each = smoothed(logits, labels, smoothing)
        return reduce_loss(each, reduction, mask=rows.mask, avg_factor=avg_factor)


def check_share(name: str, value: float) -> float:
    """The value, if it lies between 0 and 1.

    Raises: ConfigError otherwise.
    """
    if check_float(name, value) > 1:
        raise ConfigError(f'{name} must be a number from 0 to 1, got {value!r}.')
    return value


def smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Label-smoothed cross-entropy (M,) of logits (M, K) and whole labels (M,)."""
    log_probs = logits.log_softmax(dim=1)
    of_label, _ = split_target(log_probs, labels)
    return -(1 - smoothing) * of_label - smoothing * log_probs.mean(dim=1)


@LOSSES.register_module()
class LabelSmoothingLoss(DistillationLoss):
    """Weighted :func:`label_smoothed_cross_entropy`, without a teacher.

    To take the place of the head's own class loss, give that one a weight of 0:
    ``task_loss_weights={'loss_cls': 0.0}`` of a RoI head, whose value it has with
    ``smoothing=0``. Where a teacher weighs the rows, by ``target_transform``, it is
    what is weighed.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`label_smoothed_cross_entropy`.
    Raises: ConfigError for invalid values, and for logits of a sigmoid.
    """

    def __init__(
        self, loss_weight: float = 1.0, smoothing: float = 0.1, reduction: str = 'mean'
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.smoothing = check_share('smoothing', smoothing)

    def forward(
        self,
        student: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`label_smoothed_cross_entropy`."""
        check_softmax(context, 'LabelSmoothingLoss')
        return self.loss_weight * label_smoothed_cross_entropy(
            student,
            target=target,
            smoothing=self.smoothing,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
