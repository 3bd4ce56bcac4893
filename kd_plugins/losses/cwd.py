"""Channel-wise distillation: where on the map a channel fires, of Shu et al. 2021."""

import math

from torch import Tensor

from kd_plugins.checks import check_float, check_pixel_mask, check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def channel_wise_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Kullback-Leibler divergence between spatial distributions, channel by channel.

    .. math:: L_n = \frac{\tau^2}{C} \sum_{c=1}^{C} \sum_{i=1}^{HW}
        p^T_{c,i} \log (p^T_{c,i} / p^S_{c,i})

    where :math:`p_c` is the softmax of channel c over its pixels, at temperature
    :math:`\tau`. On maps of a single pixel it is 0.

    Args:
        student: logits or features, shape (N, C, H, W), any float dtype.
        teacher: same shape; no gradient is needed.
        temperature: > 0, no unit; larger is flatter.
        mask: shape (N,), 1 keeps and 0 drops an image; or (N, H, W), of pixels: dropped
            pixels get no probability, and the weight of an image is the share of its
            kept pixels.
        avg_factor: number of images 'mean' divides by, or of pixels for a mask of
            pixels; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: nats, a mean over channels; a scalar, or shape (N,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for a temperature <= 0.
    Source: Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV
        2021, https://arxiv.org/abs/2011.13256. Author code,
        https://github.com/irfanICMLL/TorchDistiller, has no mask: it includes the
        pixels of the ignore label and of padding, as a pair of layers does here.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([1.0, 3.0]).log().view(1, 1, 1, 2)
        >>> channel_wise_divergence(torch.zeros(1, 1, 1, 2), teacher)
        tensor(0.1308)
    """
    check_same_shape(student, teacher, layout='NCHW')
    check_float('temperature', temperature, strict=True)
    pixels = None
    if mask is not None and mask.dim() == 3:
        check_pixel_mask(mask, student)
        pixels = mask.flatten(1)
        mask = pixels.float().mean(dim=1)
        avg_factor = None if avg_factor is None else avg_factor / pixels.shape[1]
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        log_student = _log_probs(student / temperature, pixels)
        log_teacher = _log_probs(teacher / temperature, pixels)
        terms = log_teacher.exp() * (log_teacher - log_student)
        divergence = terms.sum(dim=2).mean(dim=1)  # (N,)
        return temperature**2 * reduce_loss(
            divergence, reduction, mask=mask, avg_factor=avg_factor
        )


def _log_probs(logits: Tensor, pixels: Tensor | None) -> Tensor:
    """Log probabilities over the pixels, (N, C, H W); 0 for dropped pixels."""
    logits = logits.flatten(2)
    if pixels is None:
        return logits.log_softmax(dim=2)
    kept = pixels > 0
    # An image without kept pixels has weight 0, but must remain finite: drop none.
    dropped = ~kept & kept.any(dim=1, keepdim=True)
    log_probs = logits.masked_fill(dropped[:, None], -math.inf).log_softmax(dim=2)
    # 0 in both instead of -inf, whose difference is not a number.
    return log_probs.masked_fill(dropped[:, None], 0.0)


@LOSSES.register_module()
class CWDLoss(DistillationLoss):
    """Weighted :func:`channel_wise_divergence`.

    Args:
        loss_weight: factor of the value, >= 0 (the released code: 3 on the logits of
            segmentation, with a temperature of 4).

    Other arguments: as of :func:`channel_wise_divergence`.
    Raises: ConfigError for invalid values.
    """

    # It softens each channel over its pixels, whatever turns it into a probability.
    same_activation = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 1.0,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.temperature = check_float('temperature', temperature, strict=True)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these images; see :func:`channel_wise_divergence`."""
        return self.loss_weight * channel_wise_divergence(
            student,
            teacher.detach(),
            temperature=self.temperature,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
