"""Pixel-wise distillation of segmentation, of Liu et al. 2019."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape, read_class_weights
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._reductions import pixel_rows, reduce_loss
from kd_plugins.losses.kd import softened_divergence
from kd_plugins.registry import LOSSES


def pixel_wise_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    standardize: bool = False,
    use_sigmoid: bool = False,
    class_weights: Tensor | None = None,
    target: Tensor | None = None,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Kullback-Leibler divergence from teacher to student classes, pixel by pixel.

    .. math:: L = \frac{1}{|V|} \sum_{i \in V} w_{y_i} \tau^2 \,
        \mathrm{KL}(q^T_i \,\|\, q^S_i)

    over the pixels V that the mask keeps; :math:`y_i` is the label of a pixel.

    Args:
        student: logits, shape (N, K, H, W), any float dtype, before any resizing.
        teacher: same shape; no gradient is needed.
        temperature: > 0, no unit; larger is flatter.
        standardize: as of :func:`softened_divergence`; not in the paper.
        use_sigmoid: True: one sigmoid for each class; False: one softmax.
        class_weights: w, shape (K,), >= 0, or (2,) for one column; default 1. Needs
            ``target``.
        target: labels, shape (N, H, W), whole numbers below K.
        mask: shape (N, H, W), 1 keeps and 0 drops a pixel (the ignore label).
        avg_factor: number of pixels 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over pixels.

    Returns: nats; a scalar, or shape (N H W,) for 'none'.
    Raises: ShapeError if the shapes differ, for another number of class weights, and
        for class weights without target; ConfigError for a temperature <= 0; either
        for logits that cannot be standardised.
    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation,
        CVPR 2019, https://arxiv.org/abs/1903.04197, eq. of l_pi. The paper prints
        KL(student || teacher); its code takes the teacher as the target, as here,
        without temperature or class weights, and adds up the images of a batch.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([3.0, 1.0]).log().view(1, 2, 1, 1)
        >>> pixel_wise_divergence(torch.zeros(1, 2, 1, 1), teacher)
        tensor(0.1308)
    """
    check_same_shape(student, teacher, layout='NKHW')
    student_rows, teacher_rows, kept = pixel_rows(student, teacher, mask)
    each = softened_divergence(
        student_rows,
        teacher_rows,
        temperature=temperature,
        standardize=standardize,
        use_sigmoid=use_sigmoid,
        mask=kept,
        reduction='none',
    )
    if class_weights is not None:
        each = each * _of_pixels(class_weights, target, student.shape).to(each)
    return reduce_loss(each, reduction, mask=kept, avg_factor=avg_factor)


def _of_pixels(weights: Tensor, target: Tensor | None, shape: torch.Size) -> Tensor:
    """Weight of the label of each pixel, shape (N H W,)."""
    classes = max(shape[1], 2)  # one column stands for two classes
    if weights.shape != (classes,):
        raise ShapeError(
            f'class_weights must have {classes} entries, one a class, got '
            f'{weights.numel()}.'
        )
    size = (shape[0], *shape[2:])
    if target is None or target.shape != size:
        shown = 'none' if target is None else tuple(target.shape)
        raise ShapeError(
            f'class_weights need the labels {size} of the pixels as target, got '
            f"{shown}. Use view='seg.logits', or remove class_weights."
        )
    return weights[target.flatten()]


@LOSSES.register_module()
class PixelWiseLoss(DistillationLoss):
    """Weighted :func:`pixel_wise_divergence`.

    Args:
        loss_weight: factor of the value, >= 0 (the paper: 10).
        class_weights: as of the function, a list.
        sum_over_batch: multiply the mean by the number of images of this process, as in
            the released code: the value then grows with the batch.
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`pixel_wise_divergence`.
    Raises: ConfigError for invalid values.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 1.0,
        standardize: bool = False,
        class_weights: Sequence[float] | None = None,
        sum_over_batch: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.standardize = standardize
        if sum_over_batch and reduction != 'mean':
            raise ConfigError(
                "sum_over_batch multiplies the mean: it needs reduction='mean', got "
                f'{reduction!r}.'
            )
        self.sum_over_batch = sum_over_batch
        self.use_sigmoid = use_sigmoid
        # A buffer moves with the model; not persistent, it is configuration.
        weights = read_class_weights(class_weights)
        self.register_buffer('class_weights', weights, persistent=False)

    @property
    def needs_target(self) -> bool:
        """Only class weights need labels."""
        return self.class_weights is not None

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
        """The loss of these pixels; see :func:`pixel_wise_divergence`."""
        value = pixel_wise_divergence(
            student,
            teacher.detach(),
            temperature=self.temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            class_weights=self.class_weights,
            target=target,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
        if self.sum_over_batch:
            # A head with several anchors has more maps than images.
            images = None if context is None else context.step.inputs
            value = len(student if images is None else images) * value
        return self.loss_weight * value
