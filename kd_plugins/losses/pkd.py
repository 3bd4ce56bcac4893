"""Pearson distillation: features without their magnitude, of Cao et al. 2022."""

import math

import torch
from torch import Tensor

from kd_plugins.checks import check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES

# Added to a deviation, as in the released code: a constant channel becomes 0. Its
# gradient is up to 1 / eps times as large: clip the student's gradient.
STD_EPS = 1e-6


def standardized_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Half the mean squared difference of standardised features, sample by sample.

    .. math:: L_n = \frac{1}{2 C H W} \sum_{c,i} (\hat f^S_{n,c,i} -
        \hat f^T_{n,c,i})^2, \qquad \hat f_c = \frac{f_c - \mu_c}{\sigma_c + \epsilon}

    The mean and the deviation of a channel are those of all n numbers of its samples
    and pixels in this process. As in the paper, the value depends on the batch, and on
    its split over ranks. The mean over samples is (1 - r) (n - 1) / n, with Pearson's r
    of a channel, averaged over the channels.

    Args:
        student: feature, shape (N, C, H, W) or (R, C), any float dtype. Rows of
            dimension 0 are samples: images or RoIs.
        teacher: same shape; no gradient is needed.
        mask: shape (N,), 1 keeps and 0 drops a sample; of maps also (N, H, W): then
            each pixel is a sample. Dropped samples are not in the statistics.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: no unit, its mean at most 2; a scalar, or shape (N,) for 'none'. It is
        0 with fewer than two numbers in a channel.
    Raises: ShapeError if the shapes differ.
    Source: Cao et al., PKD: General Distillation Framework for Object Detectors via
        Pearson Correlation Coefficient, NeurIPS 2022,
        https://arxiv.org/abs/2207.02039. Released code,
        https://github.com/open-mmlab/mmrazor: the deviation divides by n - 1, as here.

    Example:
        >>> import torch
        >>> student = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
        >>> standardized_distance(student, student.flip(3))
        tensor(1.3333)
        >>> standardized_distance(5 * student - 7, student).abs() < 1e-9
        tensor(True)
    """
    check_same_shape(student, teacher, layout='NCHW|NC')
    if mask is not None and mask.dim() == 3:
        student, teacher, mask = pixel_rows(student, teacher, mask)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        kept = student.new_ones(len(student))
        if mask is not None:
            kept = (mask > 0).to(student)
        difference = _standardized(student, kept) - _standardized(teacher, kept)
        per_sample = difference.square().flatten(1).mean(dim=1) / 2  # (N,)
        return reduce_loss(per_sample, reduction, mask=mask, avg_factor=avg_factor)


def _standardized(feature: Tensor, kept: Tensor) -> Tensor:
    """Channels of mean 0 and deviation 1 over the kept samples; the others are 0."""
    axes = (0, *range(2, feature.dim()))
    count = kept.sum() * math.prod(feature.shape[2:])
    kept = kept.view(-1, *[1] * (feature.dim() - 1))
    # Dropped samples are 0 already.
    centred = feature - feature.sum(dim=axes, keepdim=True) / count.clamp(min=1)
    centred = centred * kept
    # Not a root of the variance: at 0 its slope is infinite.
    norm = torch.linalg.vector_norm(centred, dim=axes, keepdim=True)
    standardized: Tensor = centred / (norm / (count - 1).clamp(min=1).sqrt() + STD_EPS)
    return standardized


@LOSSES.register_module()
class PKDLoss(DistillationLoss):
    """Weighted :func:`standardized_distance`.

    Args:
        loss_weight: factor of the value, >= 0 (the released configurations: 6 between
            two-stage detectors, 10 for RetinaNet).

    Other arguments: as of :func:`standardized_distance`.
    """

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`standardized_distance`."""
        return self.loss_weight * standardized_distance(
            student,
            teacher.detach(),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
