"""Localization distillation: the distributions of box edges, of Zheng et al. 2022."""

from torch import Tensor

from kd_plugins.checks import check_float
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._logits import softmax_divergence
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def localization_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 10.0,
    mean_over_bins: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Kullback-Leibler divergence of the positions of a box's edges, box by box.

    .. math:: L_i = \frac{\tau^2}{4} \sum_{e=1}^4 \sum_{b=0}^n
        p^T_{i,e,b} \log (p^T_{i,e,b} / p^S_{i,e,b})

    with :math:`p_{i,e} = \mathrm{softmax}(z_{i,e} / \tau)` over the n + 1 bins of an
    edge: left, top, right and bottom.

    Args:
        student: logits of the bins, shape (R, 4, n + 1), any float dtype.
        teacher: same shape and rows; no gradient is needed.
        temperature: > 0, no unit; larger is flatter.
        mean_over_bins: divide by the n + 1 bins, as the released code does.
        mask: shape (R,), the weight of a row, >= 0: its class score, or its overlap;
            rows of weight 0 are dropped.
        avg_factor: number that 'mean' divides by; default the sum of the weights.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: nats; a scalar, or shape (R,) for 'none'.
    Raises: ShapeError if the shapes differ or are not of edges and bins; ConfigError
        for a temperature <= 0.
    Source: Zheng et al., Localization Distillation for Object Detection, CVPR 2022,
        https://arxiv.org/abs/2102.12252. Author code:
        https://github.com/HikariTJU/LD, which takes the mean over bins and adds rows
        up (reduction='sum'): its value grows with the positives of a batch.

    Example:
        >>> import torch
        >>> student = torch.zeros(1, 4, 17)
        >>> teacher = 10 * torch.eye(17)[:1].repeat(4, 1)[None]
        >>> localization_divergence(student, teacher)
        tensor(4.8933)
        >>> localization_divergence(student, teacher, mean_over_bins=True)
        tensor(0.2878)
    """
    _check_edges(student, teacher)
    check_float('temperature', temperature, strict=True)
    rows, edges, bins = student.shape
    with float32_rows(student, teacher, mask=mask) as both:
        student, teacher = (item.flatten(0, 1) / temperature for item in both)
        divergence = softmax_divergence(student, teacher)  # (R 4,)
        each = divergence.view(rows, edges).mean(dim=1)
        if mean_over_bins:
            each = each / bins
        return temperature**2 * reduce_loss(
            each, reduction, mask=mask, avg_factor=avg_factor
        )


def _check_edges(student: Tensor, teacher: Tensor) -> None:
    for name, item in (('student', student), ('teacher', teacher)):
        if item.dim() != 3 or item.shape[2] < 2:
            raise ShapeError(
                f'{name} must be (R, 4, n + 1), two or more bins for each edge of a '
                f"box, got {tuple(item.shape)}. Use view='head.distributions'."
            )
    if student.shape != teacher.shape:
        raise ShapeError(
            f'student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ '
            'in rows, edges or bins. Both must describe the same boxes in the same '
            'order, with the same reg_max of bbox_head.'
        )


@LOSSES.register_module()
class LDLoss(DistillationLoss):
    """Weighted :func:`localization_divergence`.

    The paper's two terms are two pairs, of two regions. As in the released code::

        scale = dict(type='LDLoss', mean_over_bins=True, reduction='sum')
        vlr = dict(type='head.distributions', region='vlr')
        pairs = dict(
            ld=dict(view='head.distributions', loss=dict(scale, loss_weight=0.25)),
            ld_vlr=dict(view=vlr, loss=dict(scale, loss_weight=0.0625)),
        )

    With 'mean' it is the weighted mean over the rows of a region, which does not grow
    with the batch.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`localization_divergence`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 10.0,
        mean_over_bins: bool = False,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.temperature = check_float('temperature', temperature, strict=True)
        self.mean_over_bins = mean_over_bins

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these boxes; see :func:`localization_divergence`."""
        return self.loss_weight * localization_divergence(
            student,
            teacher.detach(),
            temperature=self.temperature,
            mean_over_bins=self.mean_over_bins,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
