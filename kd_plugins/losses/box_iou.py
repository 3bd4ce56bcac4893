"""Overlap of the student's boxes with the teacher's."""

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_same_shape
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES

KINDS = ('giou', 'iou')
# Smallest area, in square pixels, and smallest overlap, as in the host's losses. It
# also bounds the logarithm of an overlap of 0.
_EPS = 1e-6


def box_iou_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    kind: str = 'giou',
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Lack of overlap between the student's and the teacher's boxes, box by box.

    .. math:: L_i = 1 - \frac{I}{U} + \frac{E - U}{E}
        \quad\text{or}\quad -\log \frac{I}{U}

    of the areas of intersection I, union U, and the smallest box E around both.

    Args:
        student: boxes, shape (R, 4), left, top, right and bottom in pixels, any float
            dtype.
        teacher: same shape and rows; no gradient is needed.
        kind: 'giou', the first form, between 0 and 2; or 'iou', the second, which has
            no gradient where boxes do not overlap.
        mask: shape (R,), the weight of a row, >= 0; rows of weight 0 are dropped.
        avg_factor: number that 'mean' divides by; default the sum of the weights.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: no unit; a scalar, or shape (R,) for 'none'.
    Raises: ShapeError if the shapes differ or are not of boxes; ConfigError for another
        kind.
    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019,
        https://arxiv.org/abs/1902.09630, eq. 4; Yu et al., UnitBox, 2016,
        https://arxiv.org/abs/1608.01471. Between two models as in Wang et al., CrossKD,
        CVPR 2024, https://arxiv.org/abs/2306.11369.

    Example:
        >>> student, teacher = torch.tensor([[[0.0, 0, 2, 2]], [[0.0, 0, 2, 4]]])
        >>> box_iou_distance(student, teacher)
        tensor(0.5000)
        >>> box_iou_distance(student, teacher, kind='iou')
        tensor(0.6931)
    """
    check_same_shape(student, teacher, layout='RD')
    if student.shape[1] != 4:
        raise ShapeError(
            f'student must be (R, 4), boxes by two corners, got {tuple(student.shape)}.'
            " Use view='cross.boxes'."
        )
    check_choice('kind', kind, KINDS)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        inner = _area(
            torch.maximum(student[:, :2], teacher[:, :2]),
            torch.minimum(student[:, 2:], teacher[:, 2:]),
        )
        areas = [_area(item[:, :2], item[:, 2:]) for item in (student, teacher)]
        union = (areas[0] + areas[1] - inner).clamp(min=_EPS)
        overlap = inner / union
        if kind == 'iou':
            each = -overlap.clamp(min=_EPS).log()
        else:
            around = _area(
                torch.minimum(student[:, :2], teacher[:, :2]),
                torch.maximum(student[:, 2:], teacher[:, 2:]),
            ).clamp(min=_EPS)
            each = 1 - overlap + (around - union) / around
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


def _area(first: Tensor, last: Tensor) -> Tensor:
    """Area (R,) between two corners; 0 where the second lies before the first."""
    width, height = (last - first).clamp(min=0).unbind(dim=1)
    return width * height


@LOSSES.register_module()
class BoxIoULoss(DistillationLoss):
    """Weighted :func:`box_iou_distance`.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`box_iou_distance`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self, loss_weight: float = 1.0, kind: str = 'giou', reduction: str = 'mean'
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.kind = check_choice('kind', kind, KINDS)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these boxes; see :func:`box_iou_distance`."""
        return self.loss_weight * box_iou_distance(
            student,
            teacher.detach(),
            kind=self.kind,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
