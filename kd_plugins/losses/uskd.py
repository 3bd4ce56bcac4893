"""Universal self-knowledge distillation, of Yang et al. 2023."""

from torch import Tensor, nn

from kd_plugins.checks import check_float, check_int, check_same_shape
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._logits import class_numbers, split_target
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.losses._teacher_free import (
    background_of,
    check_softmax,
    feature_rows,
    kept_weights,
    labelled_rows,
    mean_of_kept,
    share_of_count,
)
from kd_plugins.losses.label_smoothing import smoothed
from kd_plugins.losses.zipf_label_smoothing import zipf_probs
from kd_plugins.registry import LOSSES

# Of the label of the weak classifier, as released.
_SMOOTHING = 0.1
# The released code adds it to 1 - p, which may be 0.
_REST_EPS = 1e-6


def self_distillation(
    student: Tensor,
    weak: Tensor,
    *,
    target: Tensor | None,
    alpha: float = 1.0,
    beta: float = 0.1,
    mu: float = 0.005,
    background: int | None = None,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Soft labels of the label's class and of the others, both the student's own.

    .. math:: L_i = -\alpha P_i \log p_{i,y}
        - \beta \sum_{c \ne y} t_{i,c} \log q_{i,c} + \mu \, \mathrm{CE}(w_i, \tilde y)

    with p the softmax of the logits, q that over the classes other than the label's, w
    the softmax of a weak classifier's logits, and

    .. math:: P_i = \mathrm{sg}\left[p_{i,y}^2 + 1 - \frac{1}{M} \sum_j p_{j,y}^2\right]

    The targets t fall as one over the rank of a class (Zipf), by the sum of what both
    classifiers leave to it: :math:`w_c / (1 - w_y) + p_c / (1 - p_y)`, without
    gradient. The third term trains the weak classifier, with the label smoothed by 0.1.
    The rows of a process are the batch: the value of a row depends on the others.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        weak: logits of the weak classifier, same shape and rows.
        target: labels, shape (M,) or (N, H, W), whole numbers below K of any dtype.
        alpha: weight of the label's class, >= 0.
        beta: weight of the other classes, >= 0.
        mu: weight of the weak classifier's own loss, >= 0.
        background: label of the rows that are left out; None: there is none.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by, those that are left out among
            them; default those kept.
        reduction: 'none', 'mean' or 'sum', over the rows that are not left out.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError for shapes that do not fit, without target, and for a single
        column; ConfigError for a weight below 0; DistillationError for other labels.
    Source: Yang et al., From Knowledge Distillation to Self-Knowledge Distillation: A
        Unified Approach with Normalized Loss and Customized Soft Labels, ICCV 2023,
        https://arxiv.org/abs/2303.13005, without the cross-entropy of the labels, which
        is the student's task loss. Author code: https://github.com/yzd-v/cls_KD. That
        the background is left out is our addition.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 1.0, 0.0]])
        >>> self_distillation(logits, logits, target=torch.tensor([0]))
        tensor(0.4815)
    """
    check_same_shape(student, weak, layout='MK|NKHW', names=('student', 'weak'))
    for name, weight in (('alpha', alpha), ('beta', beta), ('mu', mu)):
        check_float(name, weight)
    rows = labelled_rows(student, target, mask, 'USKD')
    weak, _, _ = pixel_rows(weak, weak, None)
    given = (rows.logits, weak, rows.labels)
    with float32_rows(*given, mask=rows.mask) as (logits, weak, labels):
        labels = class_numbers(labels, logits.shape[1] - 1)
        kept = kept_weights(labels, rows.mask, background)
        of_label, _ = split_target(logits.log_softmax(dim=1), labels)
        probs = of_label.detach().exp()
        soft_label = probs**2 + 1 - mean_of_kept(probs**2, kept)
        scores = _left_to(logits, labels) + _left_to(weak, labels)
        _, others = split_target(logits, labels)
        entropy = -(zipf_probs(scores, labels) * others.log_softmax(dim=1)).sum(dim=1)
        return reduce_loss(
            -alpha * soft_label * of_label
            + beta * entropy
            + mu * smoothed(weak, labels, _SMOOTHING),
            reduction,
            mask=kept,
            avg_factor=share_of_count(avg_factor, kept, rows.mask),
        )


def _left_to(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of each class over that of all but the label's, (M, K), detached."""
    probs = logits.detach().softmax(dim=1)
    of_label, _ = split_target(probs, labels)
    return probs / (1 - of_label + _REST_EPS)[:, None]


@LOSSES.register_module()
class USKDLoss(DistillationLoss):
    """Weighted :func:`self_distillation`, without a teacher.

    The weak classifier is linear, of a feature from the middle of the student: of a RoI
    the mean of what its box head reads, of a pixel that of the backbone's last stage
    but one. It is trained with the student, and an export leaves it out. The paper's
    weights: the defaults for ImageNet, and 0.1 each for CIFAR-100; the task loss keeps
    its weight of 1.

    Args:
        loss_weight: factor of the value, >= 0.
        channels: K of the logits, >= 2; default: that of the pair.
        feature_channels: D of the feature, >= 1; default: that of the pair.
        with_background: whether RoIs of the background count like others; by default
            they are left out.

    Other arguments: as of :func:`self_distillation`.
    Raises: ConfigError for invalid values, and for logits of a sigmoid.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        channels: int = 2,
        feature_channels: int = 256,
        alpha: float = 1.0,
        beta: float = 0.1,
        mu: float = 0.005,
        with_background: bool = False,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.alpha = check_float('alpha', alpha)
        self.beta = check_float('beta', beta)
        self.mu = check_float('mu', mu)
        self.with_background = with_background
        self.classifier = nn.Linear(
            check_int('feature_channels', feature_channels),
            check_int('channels', channels),
        )

    def forward(
        self,
        student: Tensor,
        *,
        early_features: Tensor | None = None,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`self_distillation`.

        Args:
            student: logits, as there.
            early_features: of the same rows, shape (M, D), or maps (N, D, H, W).
            target: as there.
            mask: as there.
            avg_factor: as there.
            context: of the view.
        """
        check_softmax(context, 'USKDLoss')
        rows = labelled_rows(student, target, mask, 'USKD')
        features = feature_rows(early_features, student, 'early_features')
        with float32_rows(features, mask=rows.mask) as (features,):
            weak = self.classifier(features)
        return self.loss_weight * self_distillation(
            rows.logits,
            weak,
            target=rows.labels,
            alpha=self.alpha,
            beta=self.beta,
            mu=self.mu,
            background=background_of(context, self.with_background),
            mask=rows.mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
