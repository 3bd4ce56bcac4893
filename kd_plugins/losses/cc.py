"""Correlation congruence, of Peng et al. 2019."""

import math

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_float, check_optional_int
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._reductions import float32_rows, reduce_loss, unit_vectors
from kd_plugins.losses._samples import (
    SampleLoss,
    check_samples,
    kept_rows,
    rescaled,
)
from kd_plugins.registry import LOSSES

KERNELS = ('gaussian', 'bilinear')
VARIANTS = ('paper', 'norm', 'neighbor')
_LONGEST = 100  # of a series whose terms have long become 0 in float32


def correlation_congruence(
    student: Tensor,
    teacher: Tensor,
    *,
    kernel: str = 'gaussian',
    gamma: float = 0.4,
    order: int | None = 2,
    variant: str = 'paper',
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared difference between the correlations of samples, sample by sample.

    .. math:: L_i = \frac{1}{n} \sum_j (k(f^T_i, f^T_j) - k(f^S_i, f^S_j))^2

    with the Gaussian kernel :math:`e^{-\gamma \|x - y\|^2}` of rows of length 1 as its
    Taylor series, or the bilinear one :math:`x^\top y` of the rows as they are:

    .. math:: k(x, y) = e^{-2\gamma} \sum_{p=0}^{P} \frac{(2\gamma)^p}{p!} (x^\top y)^p

    The n samples of this process are compared with each other, so the value of a
    sample depends on the batch. The mean is a mean over all pairs, and does not grow
    with n.

    Args:
        student: f, shape (R, D), one row a sample, any float dtype.
        teacher: shape (R, D'); no gradient is needed.
        kernel: 'gaussian' or 'bilinear', which grows with the square of the features'
            scale, and the loss with its fourth power.
        gamma: of the Gaussian kernel, > 0.
        order: P of the series, 1 to 100; None: the exponential itself.
        variant: 'paper'; 'norm', the root of the sum over all pairs, divided by n
            squared, which halves if the samples double; or 'neighbor', without a
            kernel: the products of the absolute differences :math:`|f^S_i - f^T_i|` of
            each sample and the next, summed over D = D', with the mean over n - 1.
        mask: shape (R,), 1 keeps and 0 drops a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples. For 'norm' a sample has its
            share of the root, for 'neighbor' the last sample has 0.

    Returns: no unit for 'gaussian'; a scalar, or shape (R,) for 'none'. For 'gaussian'
        a row of zeros has no direction: it counts as orthogonal to the others, and gets
        no gradient.
    Raises: ShapeError if the numbers of rows differ, for 'neighbor' also the channels;
        ConfigError for invalid values.
    Source: Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019,
        https://arxiv.org/abs/1904.01802. Later implementations take 'norm', or call
        'neighbor' correlation congruence, which is another loss. The paper also trains
        an embedding of both networks and draws its batches class by class; here an
        adapter of the pair may embed the student.

    Example:
        >>> import torch
        >>> correlation_congruence(torch.eye(2), torch.ones(2, 2))
        tensor(0.1266)
    """
    check_samples(student, teacher)
    check_choice('kernel', kernel, KERNELS)
    check_choice('variant', variant, VARIANTS)
    check_float('gamma', gamma, strict=True)
    _checked_order(order)
    if variant == 'neighbor' and student.shape != teacher.shape:
        raise ShapeError(
            f'student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ '
            "in channels, and variant='neighbor' compares them one by one. Add an "
            'adapter to this pair, ConvAdapter of maps, LinearAdapter of rows, or set '
            "variant='paper'."
        )
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        kept = kept_rows(student, mask)
        count = kept.sum().clamp(min=1)
        if variant == 'neighbor':
            each = _products(student - teacher, kept) * count / (count - 1).clamp(min=1)
            return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)
        student_correlations, teacher_correlations = (
            _correlations(item, kernel, gamma, order) for item in (student, teacher)
        )
        # Dropped rows are 0 in both, and so are their differences.
        difference = student_correlations - teacher_correlations
        each = difference.square().sum(dim=1) / count  # (R,)
        if variant == 'norm':
            root = (each.sum() * count).clamp(min=torch.finfo(each.dtype).tiny).sqrt()
            each = each / root
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _checked_order(order: int | None) -> int | None:
    checked = check_optional_int('order', order)
    if checked is not None and checked > _LONGEST:
        raise ConfigError(
            f'order must be at most {_LONGEST}, got {order}. None takes the whole '
            'series: the exponential itself.'
        )
    return checked


def _correlations(rows: Tensor, kernel: str, gamma: float, order: int | None) -> Tensor:
    """Kernel of each pair of rows, shape (R, R)."""
    if kernel == 'bilinear':
        return rows @ rows.T
    rows = unit_vectors(rescaled(rows))
    exponent = 2 * gamma * (rows @ rows.T)
    if order is None:
        return (exponent - 2 * gamma).exp()
    series = torch.ones_like(exponent)
    for p in range(order, 0, -1):  # Horner's scheme
        series = 1 + exponent / p * series
    return math.exp(-2 * gamma) * series


def _products(difference: Tensor, kept: Tensor) -> Tensor:
    """Product of each kept row with the next kept row, shape (R,)."""
    order = (
        (~kept).to(torch.uint8).argsort(stable=True)
    )  # dropped rows, all 0, come last
    sizes = difference.abs()[order]
    products = (sizes[:-1] * sizes[1:]).sum(dim=1)
    last = sizes[-1:].sum(dim=1) * 0  # no row follows it
    return torch.cat([products, last])[order.argsort()]


@LOSSES.register_module()
class CCLoss(SampleLoss):
    """Weighted :func:`correlation_congruence`.

    A sample is a row (R, D), such as a RoI's embedding; of maps (N, C, H, W) it is the
    mean of an image, a pixel, or a class of an image.

    Args:
        loss_weight: factor of the value, >= 0 (common: 0.003 of 'norm', 0.02 of
            'neighbor').
        sample: 'image', 'pixel', or 'class', which needs labels: view='seg.features'
            or 'seg.logits'.
        max_samples: the most samples of this process, >= 1; None: all. Memory grows
            with its square.

    Other arguments: as of :func:`correlation_congruence`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        kernel: str = 'gaussian',
        gamma: float = 0.4,
        order: int | None = 2,
        variant: str = 'paper',
        sample: str = 'image',
        max_samples: int | None = 512,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, sample, max_samples, reduction)
        self.kernel = check_choice('kernel', kernel, KERNELS)
        self.gamma = check_float('gamma', gamma, strict=True)
        self.order = _checked_order(order)
        self.variant = check_choice('variant', variant, VARIANTS)
        if variant == 'neighbor' and (kernel, gamma, order) != ('gaussian', 0.4, 2):
            raise ConfigError(
                "variant='neighbor' has no kernel: remove kernel, gamma and order."
            )

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`correlation_congruence`."""
        samples = self.samples(student, teacher.detach(), target, mask, avg_factor)
        return self.loss_weight * correlation_congruence(
            samples.student,
            samples.teacher,
            kernel=self.kernel,
            gamma=self.gamma,
            order=self.order,
            variant=self.variant,
            mask=samples.mask,
            avg_factor=samples.avg_factor,
            reduction=self.reduction,
        )
