"""Attentive hints of a regressor's features, of Saputra et al. 2019."""

from torch import Tensor

from kd_plugins.checks import check_same_shape
from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.losses._teacher_error import (
    BatchRange,
    RunningRange,
    check_normalizer,
    extremes_of,
    teacher_reliability,
)
from kd_plugins.registry import LOSSES


def attentive_hint(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    normalizer: float | Tensor = 1.0,
    clamp: bool = True,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance of features, weighted by the teacher's reliability, row by row.

    .. math:: L_i = \frac{1}{D} \Phi_i \|\Psi^s_i - \Psi^t_i\|^2,
        \qquad \Phi_i = 1 - e_i / \eta

    :math:`\eta` is the range of the teacher's errors on the training set, the largest
    minus the smallest. :math:`\Phi` takes no gradient.

    Args:
        student: feature after its adapter, shape (R, D), any float dtype.
        teacher: same shape and rows; no gradient is needed.
        target: :math:`e_i`, the squared error of what the teacher regresses of each
            row, shape (R, 1), >= 0.
        normalizer: :math:`\eta`, in units of ``target``; if it is not > 0,
            :math:`\Phi` is 1.
        clamp: limit :math:`\Phi` to 0 and 1. The paper does not: an error above
            :math:`\eta` then pushes the student away from the teacher.
        mask: shape (R,), 1 keeps and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: squared units of the feature, a mean over D (the paper: a sum); a scalar,
        or shape (R,) for 'none'.
    Raises: ShapeError if the shapes differ, or the errors are not one a row.
    Source: Saputra et al., Distilling Knowledge From a Deep Pose Regressor Network,
        ICCV 2019, https://arxiv.org/abs/1908.00858. No author code.

    Example:
        >>> import torch
        >>> feature, error = torch.zeros(3, 2), torch.tensor([[0.0], [1.0], [3.0]])
        >>> attentive_hint(
        ...     feature + 1, feature, error, normalizer=3.0, reduction='none'
        ... )
        tensor([1.0000, 0.6667, 0.0000])
    """
    check_same_shape(student, teacher, layout='RD')
    _check_errors(student, target)
    error = target.detach()
    with float32_rows(student, teacher, error, mask=mask) as (student, teacher, error):
        reliability = teacher_reliability(error[:, 0], normalizer, clamp)
        distance = (student - teacher).square().mean(dim=1)  # (R,)
        return reduce_loss(
            reliability * distance, reduction, mask=mask, avg_factor=avg_factor
        )


def _check_errors(student: Tensor, target: Tensor) -> None:
    if target.shape != (len(student), 1):
        raise ShapeError(
            f'expected one error a row, shape {(len(student), 1)}, got target '
            f"{tuple(target.shape)}. Use view=dict(type='roi.features', "
            "target='teacher_error')."
        )


@LOSSES.register_module()
class AHTLoss(DistillationLoss):
    r"""Weighted :func:`attentive_hint`.

    :math:`\eta` is a measured number, as in the paper; or the range of the errors of
    the batches, over all ranks, which depends on the batches. The stages of a pair
    share it.

    Args:
        loss_weight: factor of the value, >= 0.
        normalizer: a number > 0; 'batch', the range of the errors of each batch; or
            'running', which follows the smallest and the largest of the batches.
        percentile: of 'batch' and 'running', above 0 and up to 100: the percentile of
            the errors that counts as the largest.
        momentum: of 'running', below 1, the share of the previous value.
        warmup: of 'running', number of batches with rows until the range is used;
            until then :math:`\Phi` is 1.

    Other arguments: as of :func:`attentive_hint`.
    Raises: ConfigError for invalid values, and for a pair without targets.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        normalizer: float | str = 'running',
        percentile: float = 100.0,
        momentum: float = 0.99,
        warmup: int = 500,
        clamp: bool = True,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.clamp = clamp
        self.normalizer = check_normalizer(normalizer, percentile)
        self.percentile = percentile
        running = RunningRange(momentum, warmup)
        self.range: BatchRange | RunningRange | None = None
        if isinstance(normalizer, str):
            self.range = running if normalizer == 'running' else BatchRange()

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`attentive_hint`."""
        return self.loss_weight * attentive_hint(
            student,
            teacher.detach(),
            target,
            normalizer=self._normalizer(student, target, mask),
            clamp=self.clamp,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )

    def _normalizer(
        self, student: Tensor, target: Tensor, mask: Tensor | None
    ) -> float | Tensor:
        if self.range is None:
            assert not isinstance(self.normalizer, str)
            return self.normalizer
        _check_errors(student, target)
        with float32_rows(target.detach(), mask=mask) as (error,):
            found = extremes_of(error[:, 0], percentile=self.percentile, mask=mask)
        normalizer: Tensor = self.range(found)
        return normalizer
