"""Neuron selectivity transfer: where each channel fires, of Huang and Wang 2017."""

from torch import Tensor

from kd_plugins.checks import check_choice, check_float, check_int, check_same_size
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import (
    SHORTEST,
    float32_rows,
    reduce_loss,
    unit_vectors,
)
from kd_plugins.registry import LOSSES

KERNELS = ('polynomial', 'linear', 'gaussian')


def selectivity_discrepancy(
    student: Tensor,
    teacher: Tensor,
    *,
    kernel: str = 'polynomial',
    degree: int = 2,
    offset: float = 0.0,
    sigma_squared: float | None = None,
    full_mmd: bool = True,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared maximum mean discrepancy between the channels' maps, image by image.

    .. math:: L_n = \frac{1}{C'^2} \sum_{i,i'} k(f^T_i, f^T_{i'})
        + \frac{1}{C^2} \sum_{j,j'} k(f^S_j, f^S_{j'})
        - \frac{2}{C C'} \sum_{i,j} k(f^T_i, f^S_j)

    where :math:`f_c` is the map of channel c as a vector of H W numbers, of length 1.

    Args:
        student: feature, shape (N, C, H, W), any float dtype.
        teacher: shape (N, C', H, W): the channels may differ, the size may not.
        kernel: 'polynomial', :math:`(x^\top y + c)^d`; 'linear', :math:`x^\top y`; or
            'gaussian', :math:`\exp(-\|x - y\|_2^2 / (2 \sigma^2))`.
        degree: d of 'polynomial', >= 1.
        offset: c of 'polynomial', >= 0.
        sigma_squared: of 'gaussian', > 0; by default, for each image, the mean squared
            distance between a channel of the student and one of the teacher, which
            takes no gradient.
        full_mmd: include the constant term of the teacher alone. The released code
            drops it: the value may then be negative, and the gradient is the same.
        mask: shape (N,), 1 keeps and 0 drops an image.
        avg_factor: number of images 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over images.

    Returns: no unit; a scalar, or shape (N,) for 'none'. A channel of length 1e-6 at
        most counts as 0, and so does its gradient. Memory: a few float32 copies of
        the maps, N (C + C') H W numbers, and, unless the kernel is linear, of the
        kernel's values, N (C^2 + C'^2 + C C').
    Raises: ShapeError if batch size, height or width differ; ConfigError for invalid
        values.
    Source: Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity
        Transfer, 2017, https://arxiv.org/abs/1707.01219, before its factor lambda / 2.
        Author code, https://github.com/TuSimple/neuron-selectivity-transfer: without
        the factor 1 / 2 and the teacher's term, and a weight of 50. The default of
        ``sigma_squared`` is our choice.

    Example:
        >>> import torch
        >>> student = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
        >>> teacher = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> selectivity_discrepancy(student, teacher)
        tensor(2.)
        >>> selectivity_discrepancy(
        ...     student, teacher, kernel='gaussian', sigma_squared=0.5
        ... )
        tensor(1.7293)
    """
    check_same_size(student, teacher)
    check_choice('kernel', kernel, KERNELS)
    check_int('degree', degree)
    check_float('offset', offset)
    if sigma_squared is not None:
        check_float('sigma_squared', sigma_squared, strict=True)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        student, teacher = (
            unit_vectors(item.flatten(2)) for item in (student, teacher)
        )
        width: Tensor | float = 1.0 if sigma_squared is None else sigma_squared
        if kernel == 'gaussian' and sigma_squared is None:
            width = _squared_distances(student.detach(), teacher).mean(dim=(1, 2))
            width = width.clamp(min=SHORTEST).view(-1, 1, 1)

        def mean(x: Tensor, y: Tensor) -> Tensor:
            if kernel == 'linear':  # the mean of products is the product of means
                return (x.mean(dim=1) * y.mean(dim=1)).sum(dim=1)
            if kernel == 'polynomial':
                values = (x @ y.transpose(1, 2) + offset) ** degree
            else:
                values = (_squared_distances(x, y) / (-2 * width)).exp()
            return values.mean(dim=(1, 2))

        each = mean(student, student) - 2 * mean(student, teacher)  # (N,)
        if full_mmd:
            each = each + mean(teacher, teacher)
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Between all vectors of x (N, C, D) and y (N, C', D), shape (N, C, C')."""
    squares = x.square().sum(dim=2)[:, :, None] + y.square().sum(dim=2)[:, None]
    return squares - 2 * x @ y.transpose(1, 2)


@LOSSES.register_module()
class NSTLoss(DistillationLoss):
    """Weighted :func:`selectivity_discrepancy`.

    Args:
        loss_weight: factor of the value, >= 0 (the released code: 50).

    Other arguments: as of :func:`selectivity_discrepancy`.
    Raises: ConfigError for invalid values.
    """

    same_channels = False

    def __init__(
        self,
        loss_weight: float = 1.0,
        kernel: str = 'polynomial',
        degree: int = 2,
        offset: float = 0.0,
        sigma_squared: float | None = None,
        full_mmd: bool = True,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.kernel = check_choice('kernel', kernel, KERNELS)
        check_int('degree', degree)
        self.degree = degree
        self.offset = check_float('offset', offset)
        if sigma_squared is not None:
            check_float('sigma_squared', sigma_squared, strict=True)
        self.sigma_squared = sigma_squared
        self.full_mmd = full_mmd

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these images; see :func:`selectivity_discrepancy`."""
        return self.loss_weight * selectivity_discrepancy(
            student,
            teacher.detach(),
            kernel=self.kernel,
            degree=self.degree,
            offset=self.offset,
            sigma_squared=self.sigma_squared,
            full_mmd=self.full_mmd,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
