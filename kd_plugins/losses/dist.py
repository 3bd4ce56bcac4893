"""Correlation of class probabilities (DIST), of Huang et al. 2022."""

import torch
from torch import Tensor

from kd_plugins.checks import check_float, check_int, check_same_shape
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext, is_sigmoid
from kd_plugins.losses._logits import check_columns, softened
from kd_plugins.losses._reductions import (
    COUNT_EPS,
    float32_rows,
    pixel_rows,
    reduce_loss,
)
from kd_plugins.registry import LOSSES

# Probabilities with a smaller standard deviation count as constant: float32 resolves
# 1e-7 near 1. The authors' code adds 1e-8 to the product of lengths instead, which
# gives an unbounded gradient for a constant student.
_LEAST_STD = 1e-6


def class_correlation(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    standardize: bool = False,
    use_sigmoid: bool = False,
    anchors: int = 1,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""One minus the correlation of probabilities, within each row and each class.

    .. math:: L = \tau^2 \beta \Big(1 - \frac1M \sum_i \rho(p^S_{i,:}, p^T_{i,:})\Big)
        + \tau^2 \gamma \Big(1 - \frac1K \sum_c \rho(p^S_{:,c}, p^T_{:,c})\Big)

    with Pearson's :math:`\rho`, which is 0 where either side is constant. The first
    term (inter-class) has one number for each row. The second term (intra-class)
    correlates all kept rows of this process and cannot be split by row: each row gets
    the whole term, and 'none' gives
    :math:`\tau^2 (\beta (1 - \rho_i) + \gamma L_{intra})`. Over ranks it is the mean of
    the ranks' terms, weighted by their rows, and not the term of all rows together, as
    in the authors' code. A single row has a constant 1.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype. With two softmax classes only the intra-class term is
            informative; one sigmoid column has no inter-class term.
        teacher: same shape and rows; no gradient is needed.
        beta: weight of the inter-class term, >= 0.
        gamma: weight of the intra-class term, >= 0.
        temperature: > 0, no unit; larger is flatter.
        standardize: as in :func:`softened_divergence`.
        use_sigmoid: True: one sigmoid for each column; False: one softmax.
        anchors: A, of maps (N A, K, H, W): a row is then a point of the map with A K
            columns, as in the released code for one-stage detectors; default 1, an
            anchor is a row.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row, also in the statistics
            of a class; with ``anchors`` a point is kept if all of its anchors are.
        avg_factor: number of rows 'mean' divides by, with each anchor as a row; default
            those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: no unit; each term is 0 to 2 before its factors. A scalar, or shape (M,)
        for 'none'.
    Raises: ShapeError if the shapes differ, for softmax over a single column, and for
        ``anchors`` that do not fit the maps; ConfigError for invalid numbers;
        either for logits that cannot be standardised.
    Source: Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022,
        https://arxiv.org/abs/2205.10536. Author code: https://github.com/hunto/DIST_KD;
        for segmentation it includes ignored pixels, which a mask drops here.

    Example:
        >>> student = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]).log()
        >>> teacher = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).log()
        >>> class_correlation(student, teacher, gamma=0.0)
        tensor(0.0219)
        >>> class_correlation(student, teacher, beta=0.0)  # the third is constant
        tensor(0.3333)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    check_float('beta', beta)
    check_float('gamma', gamma)
    check_float('temperature', temperature, strict=True)
    check_int('anchors', anchors)
    shape = student.shape
    student, teacher, mask = pixel_rows(student, teacher, mask)
    if anchors != 1:
        student, teacher, mask = _points(student, teacher, mask, shape, anchors)
        avg_factor = None if avg_factor is None else avg_factor / anchors
    check_columns(student, use_sigmoid, standardize)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        logits = [
            softened(item, temperature, standardize) for item in (student, teacher)
        ]
        student_probs, teacher_probs = (
            item.sigmoid() if use_sigmoid else item.softmax(dim=1) for item in logits
        )
        count, columns = student_probs.shape
        each = student_probs.new_zeros(count)
        if columns > 1:
            shares = student_probs.new_full((1, columns), 1 / columns)
            correlation = _correlation(student_probs, teacher_probs, shares, dim=1)
            each = beta * (1 - correlation)
        kept = each.new_ones(count) if mask is None else mask.to(each)
        shares = (kept / kept.sum().clamp(min=COUNT_EPS))[:, None]
        intra = 1 - _correlation(student_probs, teacher_probs, shares, dim=0).mean()
        each = each + gamma * intra
        return temperature**2 * reduce_loss(
            each, reduction, mask=mask, avg_factor=avg_factor
        )


def _correlation(student: Tensor, teacher: Tensor, shares: Tensor, dim: int) -> Tensor:
    """Pearson's correlation along a dimension, its entries weighted by ``shares``."""
    student, teacher = (
        item - (shares * item).sum(dim, keepdim=True) for item in (student, teacher)
    )
    student_variance, teacher_variance = (
        (shares * item.square()).sum(dim) for item in (student, teacher)
    )
    varies = (student_variance > _LEAST_STD**2) & (teacher_variance > _LEAST_STD**2)
    # Before the root, whose slope at 0 is infinite.
    product = torch.where(varies, student_variance * teacher_variance, 1.0)
    covariance = torch.where(varies, (shares * student * teacher).sum(dim), 0.0)
    return (covariance / product.sqrt()).clamp(-1, 1)


def _points(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor | None,
    shape: torch.Size,
    anchors: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Rows (N A H W, K) as (N H W, A K): the anchors of a point side by side."""
    if len(shape) != 4 or shape[0] % anchors:
        raise ShapeError(
            f'anchors={anchors} needs maps (N x {anchors}, K, H, W), got '
            f'{tuple(shape)}. Remove it.'
        )
    sizes = (shape[0] // anchors, anchors, shape[2] * shape[3])
    student, teacher = (
        item.unflatten(0, sizes).transpose(1, 2).flatten(0, 1).flatten(1)
        for item in (student, teacher)
    )
    if mask is not None:
        mask = mask.unflatten(0, sizes).amin(dim=1).flatten()
    return student, teacher, mask


@LOSSES.register_module()
class DISTLoss(DistillationLoss):
    """Weighted :func:`class_correlation`.

    The paper's values: beta, gamma and temperature 1, the defaults here, and 4 as the
    temperature for CIFAR-100; a weight of 2 for classification, and of 1 for detection
    and segmentation. For segmentation the paper also compares the auxiliary heads, with
    a weight of 0.4; here the teacher's auxiliary head does not run.

    Args:
        loss_weight: factor of the value, >= 0.
        mix_anchors: set ``anchors`` to the A anchors at a point of a one-stage head, as
            the released code does.
        use_sigmoid: None: as the view says; otherwise True for a single column.

    Other arguments: as of :func:`class_correlation`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        standardize: bool = False,
        mix_anchors: bool = False,
        use_sigmoid: bool | None = None,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.beta = check_float('beta', beta)
        self.gamma = check_float('gamma', gamma)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.standardize = standardize
        self.mix_anchors = mix_anchors
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
        """The loss of these rows; see :func:`class_correlation`."""
        return self.loss_weight * class_correlation(
            student,
            teacher.detach(),
            beta=self.beta,
            gamma=self.gamma,
            temperature=self.temperature,
            standardize=self.standardize,
            use_sigmoid=is_sigmoid(self.use_sigmoid, context, student),
            anchors=self._anchors(student, context),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )

    def _anchors(self, student: Tensor, context: LossContext | None) -> int:
        if not self.mix_anchors:
            return 1
        images = None if context is None else context.step.inputs
        if images is None or student.dim() != 4:
            raise ConfigError(
                'mix_anchors is for maps of a one-stage head (head.logits) with '
                f'context.step.inputs; got logits {tuple(student.shape)}. Remove it.'
            )
        return len(student) // len(images)
