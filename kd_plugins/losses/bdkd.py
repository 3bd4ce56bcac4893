"""Balanced divergences (BD-KD), of Amara et al. 2022."""

import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import (
    bernoulli_divergence,
    check_columns,
    softened,
    softmax_divergence,
)
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES


def balanced_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    high: float = 0.75,
    low: float = 0.25,
    sharpness: float | None = None,
    temperature: float = 1.0,
    standardize: bool = False,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Divergences in both directions, balanced by the entropies, row by row.

    .. math:: L_i = \tau^2 \big( (1 - w_i) \, \mathrm{KL}(p^T_i \,\|\, p^S_i)
        + w_i \, \mathrm{KL}(p^S_i \,\|\, p^T_i) \big), \qquad
        w_i = l + (h - l) \, g(H(p^S_i) - H(p^T_i))

    with softened p, h ``high`` and l ``low``. The gate g is 1 if the student is less
    sure than the teacher (its entropy H is larger): the second divergence then draws it
    to the teacher's mode. Otherwise g is 0; w takes no gradient. For sigmoid logits
    each column is a distribution with its own w, and their losses are summed.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype.
        teacher: same shape and rows; no gradient is needed.
        high: weight of the second divergence if the student is less sure, 0 to 1.
        low: likewise if it is not.
        sharpness: k, > 0, makes the gate smooth: the sigmoid of k times the difference
            of the entropies in nats; default a step.
        temperature: > 0, no unit; larger is flatter.
        standardize: as in :func:`softened_divergence`.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if the shapes differ, and for softmax over a single column;
        ConfigError for invalid numbers; either for logits that cannot be
        standardised.
    Source: Amara et al., BD-KD: Balancing the Divergences for Online Knowledge
        Distillation, 2022, https://arxiv.org/abs/2212.12965. No author code. The paper
        weighs both divergences by sample from the gap of the entropies; the values of
        the weights, the smooth gate and the sigmoid form are our choice. It trains both
        networks at once; here the teacher is fixed, and this is the student's part.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0, 0, 0]]), torch.tensor([[2.0, 1, 0]])
        >>> balanced_divergence(student, teacher)
        tensor(0.0645)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    _check_weights(high, low, sharpness)
    check_float('temperature', temperature, strict=True)
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_columns(student, use_sigmoid, standardize)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        student = softened(student, temperature, standardize)
        teacher = softened(teacher, temperature, standardize)
        divergence = bernoulli_divergence if use_sigmoid else softmax_divergence
        entropy = _bernoulli_entropy if use_sigmoid else _softmax_entropy
        gap = entropy(student).detach() - entropy(teacher).detach()
        gate = (gap > 0).to(gap) if sharpness is None else (sharpness * gap).sigmoid()
        weight = low + (high - low) * gate
        each = (1 - weight) * divergence(student, teacher)
        each = each + weight * divergence(teacher, student)  # (M,), or (M, K)
        if use_sigmoid:
            each = each.sum(dim=1)
        return temperature**2 * reduce_loss(
            each, reduction, mask=mask, avg_factor=avg_factor
        )


def _check_weights(high: float, low: float, sharpness: float | None) -> None:
    for name, value in (('high', high), ('low', low)):
        if check_float(name, value) > 1:
            raise ConfigError(f'{name} must be a share, 0 to 1, got {value!r}.')
    if sharpness is not None:
        check_float('sharpness', sharpness, strict=True)


def _softmax_entropy(logits: Tensor) -> Tensor:
    """In nats, of rows (M, K): shape (M,)."""
    log_probs = logits.log_softmax(dim=1)
    return -(log_probs.exp() * log_probs).sum(dim=1)


def _bernoulli_entropy(logits: Tensor) -> Tensor:
    """In nats, of each logit: same shape."""
    yes = logits.sigmoid() * F.logsigmoid(logits)
    return -(yes + (-logits).sigmoid() * F.logsigmoid(-logits))


@LOSSES.register_module()
class BDKDLoss(DistillationLoss):
    """Weighted :func:`balanced_divergence`.

    Args:
        loss_weight: factor of the value, >= 0.
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`balanced_divergence`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        high: float = 0.75,
        low: float = 0.25,
        sharpness: float | None = None,
        temperature: float = 1.0,
        standardize: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        _check_weights(high, low, sharpness)
        self.high = high
        self.low = low
        self.sharpness = sharpness
        self.temperature = check_float('temperature', temperature, strict=True)
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
        """The loss of these rows; see :func:`balanced_divergence`."""
        return self.loss_weight * balanced_divergence(
            student,
            teacher.detach(),
            high=self.high,
            low=self.low,
            sharpness=self.sharpness,
            temperature=self.temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
