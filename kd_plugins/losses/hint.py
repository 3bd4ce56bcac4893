"""Hint loss: distance of intermediate features, of Chen et al. 2017."""

from torch import Tensor

from kd_plugins.checks import check_choice, check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.registry import LOSSES

NORMS = ('l2', 'l1')


def hint_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    norm: str = 'l2',
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Mean distance between features, sample by sample.

    .. math:: L_n = \frac{1}{CHW} \|v_n - z_n\|_2^2
        \quad\text{or}\quad \frac{1}{CHW} \|v_n - z_n\|_1

    Args:
        student: feature after its adapter, shape (N, C, H, W) or (R, C), any float
            dtype. Rows of dimension 0 are samples: images or RoIs.
        teacher: same shape; no gradient is needed.
        norm: 'l2', squared differences, or 'l1', absolute ones.
        mask: shape (N,), 1 keeps and 0 drops a sample; of maps also (N, H, W): then
            each pixel is a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: squared ('l2') or plain ('l1') units of the feature, a mean over C, H, W;
        a scalar, or shape (N,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for another norm.
    Source: Chen et al., Learning Efficient Object Detection Models with Knowledge
        Distillation, NIPS 2017, https://papers.nips.cc/paper/6676, L_Hint. No author
        code. The paper does not specify the reduction; the mean is independent of
        the map's size.

    Example:
        >>> import torch
        >>> feature = torch.zeros(2, 3, 4, 4)
        >>> hint_distance(feature + 2, feature)
        tensor(4.)
        >>> hint_distance(feature + 2, feature, norm='l1')
        tensor(2.)
    """
    check_same_shape(student, teacher, layout='NCHW|NC')
    check_choice('norm', norm, NORMS)
    if mask is not None and mask.dim() == 3:
        student, teacher, mask = pixel_rows(student, teacher, mask)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        difference = student - teacher
        distance = difference.square() if norm == 'l2' else difference.abs()
        per_sample = distance.mean(dim=tuple(range(1, distance.dim())))  # (N,)
        return reduce_loss(per_sample, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class HintLoss(DistillationLoss):
    """Weighted :func:`hint_distance`.

    Args:
        loss_weight: factor of the value, >= 0 (the paper's gamma, 0.5).

    Other arguments: as of :func:`hint_distance`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self, loss_weight: float = 1.0, norm: str = 'l2', reduction: str = 'mean'
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.norm = check_choice('norm', norm, NORMS)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`hint_distance`."""
        return self.loss_weight * hint_distance(
            student,
            teacher.detach(),
            norm=self.norm,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
