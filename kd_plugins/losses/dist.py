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

# Probabilities whose standard deviation is smaller do not vary: in float32 one near 1
# is known to 1e-7. The authors' code adds 1e-8 to the product of lengths instead, which
# leaves a gradient without bound where the student does not vary.
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
    r"""How far probabilities are from correlated, within each row and each class.

    .. math:: L = \tau^2 \beta \Big(1 - \frac1M \sum_i \rho(p^S_{i,:}, p^T_{i,:})\Big)
        + \tau^2 \gamma \Big(1 - \frac1K \sum_c \rho(p^S_{:,c}, p^T_{:,c})\Big)

    with Pearson's :math:`\rho`, which is 0 where either side does not vary. The first
    term (inter-class) is one number a row. The second (intra-class) correlates all rows
    kept here, so it cannot be split by row: every row has the whole of it as its share,
    and 'none' gives :math:`\tau^2 (\beta (1 - \rho_i) + \gamma L_{intra})`. Over ranks
    it is the mean of their own intra-class terms, weighted by their rows, and not that
    of all rows together, as in the authors' code; one row alone has a constant 1.

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype. Of two softmax classes only the intra-class term says anything;
            of one sigmoid column there is no other.
        teacher: same shape and rows; no gradient is needed.
        beta: weight of the inter-class term, >= 0.
        gamma: weight of the intra-class term, >= 0.
        temperature: > 0, no unit; larger is flatter.
        standardize: as in :func:`softened_divergence`.
        use_sigmoid: whether probabilities are a sigmoid's, each column by itself.
        anchors: A, of maps (N A, K, H, W): a row is then a point of the map, and has
            A K columns, as the released code for one-stage detectors mixes anchors
            with classes; default 1, an anchor is a row.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row, from the statistics of
            a class too; with ``anchors`` a point is kept if all of its anchors are.
        avg_factor: number of rows 'mean' divides by, anchors counted one by one;
            default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: no unit; each term is 0 to 2 before its factors. A scalar, or shape (M,)
        for 'none'.
    Raises: ShapeError if the shapes differ, for softmax over a single column, and for
        ``anchors`` that maps do not have; ConfigError for numbers that cannot be;
        either for logits that cannot be standardised.
    Source: Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022,
        https://arxiv.org/abs/2205.10536. Author code: https://github.com/hunto/DIST_KD;
        for segmentation it does not leave out ignored pixels, as a mask does.

    Example:
        >>> student = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]).log()
        >>> teacher = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).log()
        >>> class_correlation(student, teacher, gamma=0.0)
        tensor(0.0219)
        >>> class_correlation(student, teacher, beta=0.0)  # the third does not vary
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
        own, other = (
            item.sigmoid() if use_sigmoid else item.softmax(dim=1) for item in logits
        )
        count, columns = own.shape
        each = own.new_zeros(count)
        if columns > 1:
            shares = own.new_full((1, columns), 1 / columns)
            each = beta * (1 - _correlation(own, other, shares, dim=1))
        kept = own.new_ones(count) if mask is None else mask.to(own)
        shares = (kept / kept.sum().clamp(min=COUNT_EPS))[:, None]
        intra = 1 - _correlation(own, other, shares, dim=0).mean()
        each = each + gamma * intra
        return temperature**2 * reduce_loss(
            each, reduction, mask=mask, avg_factor=avg_factor
        )


def _correlation(student: Tensor, teacher: Tensor, shares: Tensor, dim: int) -> Tensor:
    """Pearson's, along a dimension whose entries have these shares of its means."""
    own, other = (
        item - (shares * item).sum(dim, keepdim=True) for item in (student, teacher)
    )
    variance, its_variance = (
        (shares * item.square()).sum(dim) for item in (own, other)
    )
    varies = (variance > _LEAST_STD**2) & (its_variance > _LEAST_STD**2)
    # Outside the root, so that no infinite slope of a root of 0 meets the gradient.
    product = torch.where(varies, variance * its_variance, 1.0)
    covariance = torch.where(varies, (shares * own * other).sum(dim), 0.0)
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
    """Weighted :func:`class_correlation`, whose arguments are documented there.

    The paper's values: beta, gamma and temperature 1, the defaults here, and 4 as the
    temperature for CIFAR-100; a weight of 2 for classification, and of 1 for detection
    and segmentation. There it compares the auxiliary heads too, with a weight of 0.4;
    here the teacher's does not run.

    Args:
        loss_weight: factor of the value, >= 0.
        beta: as there.
        gamma: as there.
        temperature: as there.
        standardize: as there.
        mix_anchors: on the maps of a one-stage head with A anchors at a point, take
            these as ``anchors``, as the released code does.
        use_sigmoid: None asks the view; without an answer, one column means yes.
        reduction: as there.

    Raises: ConfigError for values that cannot be.
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
                'mix_anchors is for maps of a one-stage head (head.logits), whose '
                f'images the view tells; got logits {tuple(student.shape)}. Remove it.'
            )
        return len(student) // len(images)
