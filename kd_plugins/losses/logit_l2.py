"""Logit regression, of Ba and Caruana 2014."""

from torch import Tensor

from kd_plugins.checks import check_choice, check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES

NORMALIZERS = ('half_batchmean', 'elementmean')


def logit_l2(
    student: Tensor,
    teacher: Tensor,
    *,
    normalize: str = 'half_batchmean',
    centre: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance between logits, row by row.

    .. math:: L_i = \tfrac12 \|z^S_i - z^T_i\|^2
        \quad\text{or}\quad \tfrac1K \|z^S_i - z^T_i\|^2

    Args:
        student: logits, shape (M, K), or maps (N, K, H, W) whose pixels are rows; any
            float dtype, of softmax or sigmoid.
        teacher: same shape and rows; no gradient is needed.
        normalize: 'half_batchmean', half the sum over classes as in the paper, or
            'elementmean', the mean over classes.
        centre: first subtract the mean of each row, which softmax ignores: the limit
            of Hinton's loss for high temperatures, times K.
        mask: shape (M,) or (N, H, W), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: squared logits; a scalar, or shape (M,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for another normalisation.
    Source: Ba and Caruana, Do Deep Nets Really Need to be Deep?, 2014,
        https://arxiv.org/abs/1312.6184. The mean over classes is a common variant.

    Example:
        >>> import torch
        >>> logit_l2(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[2.0, 1.0, 0.0]]))
        tensor(1.)
    """
    check_same_shape(student, teacher, layout='MK|NKHW')
    student, teacher, mask = pixel_rows(student, teacher, mask)
    check_choice('normalize', normalize, NORMALIZERS)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        difference = student - teacher
        if centre:
            difference = difference - difference.mean(dim=1, keepdim=True)
        squared = difference.square()
        if normalize == 'half_batchmean':
            distance = squared.sum(dim=1) / 2  # (M,)
        else:
            distance = squared.mean(dim=1)
        return reduce_loss(distance, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class LogitL2Loss(DistillationLoss):
    """Weighted :func:`logit_l2`.

    Args:
        loss_weight: factor of the value, >= 0.

    Other arguments: as of :func:`logit_l2`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        normalize: str = 'half_batchmean',
        centre: bool = False,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.normalize = check_choice('normalize', normalize, NORMALIZERS)
        self.centre = centre

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`logit_l2`."""
        return self.loss_weight * logit_l2(
            student,
            teacher.detach(),
            normalize=self.normalize,
            centre=self.centre,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
