"""Soft classification loss with class weights, of Chen et al. 2017."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape, read_class_weights
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import check_columns, softened
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES


def weighted_class_kd(
    student: Tensor,
    teacher: Tensor,
    *,
    background_weight: float = 1.5,
    class_weights: Tensor | None = None,
    background: int = -1,
    temperature: float = 1.0,
    standardize: bool = False,
    use_sigmoid: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Cross-entropy of the student under the teacher's classes, weighted by class.

    .. math:: L_i = -\tau^2 \sum_c w_c \, p^T_{i,c} \log p^S_{i,c}

    and for sigmoid logits, :math:`w_b` being the background's weight,

    .. math:: L_i = -\tau^2 \sum_k w_k \, p^T_{i,k} \log p^S_{i,k}
        + w_b (1 - p^T_{i,k}) \log (1 - p^S_{i,k})

    If the two agree it is an entropy, not 0. Its minimum is at
    :math:`p^S_c \propto w_c p^T_c`.

    Args:
        student: logits, shape (M, K+1) with one background column, or sigmoid logits
            (M, K); any float dtype. Rows are RoIs, anchors or points; of
            maps (N, K+1, H, W) pixels.
        teacher: same shape and rows; no gradient is needed.
        background_weight: weight of the background; every other class has 1.
        class_weights: instead, a weight for each class, the background's last, shape
            (K+1,), whatever the column of the background.
        background: column of the background in softmax logits; unused for sigmoid.
        temperature: > 0, no unit; larger is flatter.
        standardize: as of :func:`softened_divergence`; not in the paper.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats times the weight; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if the shapes differ, for softmax over a single column, and for
        another number of class weights; ConfigError for a temperature <= 0; either for
        logits that cannot be standardised.
    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, https://papers.nips.cc/paper/6676, L_soft. No author
        code. Temperature (paper: 1) and sigmoid form (paper: softmax) are our
        additions.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> weighted_class_kd(logits, logits)
        tensor(1.1906)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_float('temperature', temperature, strict=True)
    check_columns(student, use_sigmoid, standardize)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        object_weights, background_weights = _split_weights(
            student, background_weight, class_weights, use_sigmoid
        )
        student = softened(student, temperature, standardize)
        teacher = softened(teacher, temperature, standardize)
        if use_sigmoid:
            yes = object_weights * teacher.sigmoid() * F.logsigmoid(student)
            no = background_weights * (-teacher).sigmoid() * F.logsigmoid(-student)
            entropy = -(yes + no).sum(dim=1)  # (M,)
        else:
            column = _background_column(background, student.shape[1])
            weights = torch.cat(
                [object_weights[:column], background_weights, object_weights[column:]]
            )
            weighted_probs = weights * teacher.softmax(dim=1)
            entropy = -(weighted_probs * student.log_softmax(dim=1)).sum(dim=1)
        return temperature**2 * reduce_loss(
            entropy, reduction, mask=mask, avg_factor=avg_factor
        )


def _split_weights(
    logits: Tensor,
    background_weight: float,
    class_weights: Tensor | None,
    use_sigmoid: bool,
) -> tuple[Tensor, Tensor]:
    """Weights (K,) of the object classes, and (1,) of the background."""
    columns = logits.shape[1]
    classes = columns if use_sigmoid else columns - 1
    if class_weights is None:
        return logits.new_ones(classes), logits.new_full((1,), background_weight)
    if class_weights.shape != (classes + 1,):
        raise ShapeError(
            f'class_weights must have {classes + 1} entries, {classes} classes and '
            f'then the background, got {class_weights.numel()}.'
        )
    weights = class_weights.to(logits)
    return weights[:-1], weights[-1:]


def _background_column(background: int, columns: int) -> int:
    """The column counted from the left."""
    if not -columns <= background < columns:
        raise ShapeError(f'background {background} is none of {columns} columns.')
    return background % columns


@LOSSES.register_module()
class WeightedClassKDLoss(DistillationLoss):
    """Weighted :func:`weighted_class_kd`.

    Args:
        loss_weight: factor of the value, >= 0.
        background_weight: as of the function; default 1.5 without class weights, and 1
            if the view has no background (``seg.logits``).
        class_weights: as of the function, a list; excludes ``background_weight``.
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`weighted_class_kd`.
    Raises: ConfigError for invalid values.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        loss_weight: float = 1.0,
        background_weight: float | None = None,
        class_weights: Sequence[float] | None = None,
        temperature: float = 1.0,
        standardize: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        if class_weights is not None and background_weight is not None:
            raise ConfigError(
                'background_weight and class_weights exclude each other: '
                'the last entry of class_weights is the background.'
            )
        self._has_background_weight = background_weight is not None
        self.background_weight = check_float(
            'background_weight', 1.5 if background_weight is None else background_weight
        )
        # A buffer moves with the model; not persistent, it is configuration.
        weights = read_class_weights(class_weights)
        self.register_buffer('class_weights', weights, persistent=False)
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
        """The loss of these rows; see :func:`weighted_class_kd`."""
        background, background_weight = -1, self.background_weight
        if context is not None and context.background is not None:
            background = context.background
        elif context is not None and context.activation == 'softmax':
            background_weight = 1.0
            if self._has_background_weight:
                raise ConfigError(
                    'background_weight: these logits have no background. Remove it, or '
                    'weigh every class: class_weights=[...].'
                )
        return self.loss_weight * weighted_class_kd(
            student,
            teacher.detach(),
            background_weight=background_weight,
            class_weights=self.class_weights,
            background=background,
            temperature=self.temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
