"""Attentive imitation of a regressor, of Saputra et al. 2019."""

import torch
from torch import Tensor

from kd_plugins.checks import check_choice, check_float, check_same_shape
from kd_plugins.errors import ConfigError
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, pixel_rows, reduce_loss
from kd_plugins.losses._teacher_error import (
    LAYOUT,
    BatchRange,
    RunningRange,
    check_normalizer,
    error_range,
    teacher_reliability,
)
from kd_plugins.registry import LOSSES

MODES = ('attentive', 'plain', 'bounded', 'minimum')


def attentive_imitation(
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None = None,
    *,
    mode: str = 'attentive',
    normalizer: float | Tensor = 1.0,
    clamp: bool = True,
    alpha: float = 0.5,
    with_task: bool = False,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance to the teacher, weighted by its reliability, row by row.

    .. math:: L_i = \alpha \|s_i - y_i\|^2 + (1 - \alpha) \Phi_i \|s_i - t_i\|^2,
        \qquad \Phi_i = 1 - \|t_i - y_i\|^2 / \eta

    The first term is the task loss, which the head computes already; by default it is
    left out. :math:`\eta` is the range of the teacher's errors on the training set, the
    largest minus the smallest. :math:`\Phi` takes no gradient.

    Args:
        student: encoded deltas, shape (R, D), or maps (N, C, H, W) whose pixels are
            rows, such as depth; any float dtype.
        teacher: same shape and rows, encoded alike; no gradient is needed.
        target: of the ground truth, same shape, encoded alike; optional only for
            'plain' without the task's term.
        mode: 'attentive', the paper's choice; or one that it compares with. 'plain':
            :math:`\Phi` is 1. 'bounded': :math:`\Phi` is 1 where the student's error
            exceeds the teacher's, else 0. 'minimum': the smaller of
            :math:`\|s_i - y_i\|^2` and :math:`\|s_i - t_i\|^2`, in place of both terms.
        normalizer: :math:`\eta`, squared units; if it is not > 0, :math:`\Phi` is 1.
        clamp: limit :math:`\Phi` to 0 and 1. The paper does not: an error above
            :math:`\eta` then pushes the student away from the teacher.
        alpha: weight of the task's term, between 0 and 1.
        with_task: add the task's term.
        mask: shape (R,), or (N, H, W) of maps; 1 keeps (positives, pixels with a
            measured depth) and 0 drops a row.
        avg_factor: number of rows 'mean' divides by; default those kept. As for the
            host's box losses, ``roi.deltas`` and ``rpn.deltas`` give the number of all
            sampled rows, and ``head.deltas`` that of the positives.
        reduction: 'none', 'mean' or 'sum', over rows.

    Returns: squared units, summed over D; a scalar, or shape (R,) for 'none'.
    Raises: ShapeError if the shapes differ; ConfigError for invalid values, and for a
        missing target.
    Source: Saputra et al., Distilling Knowledge From a Deep Pose Regressor Network,
        ICCV 2019, https://arxiv.org/abs/1908.00858. No author code. Its fifth loss
        needs a student that predicts a variance; it is not implemented.

    Example:
        >>> target = torch.zeros(3, 1)
        >>> teacher = torch.tensor([[0.0], [1.0], [3.0]]).sqrt()  # errors 0, 1 and 3
        >>> attentive_imitation(
        ...     teacher + 1, teacher, target, normalizer=3.0, reduction='none'
        ... )
        tensor([0.5000, 0.3333, 0.0000])
    """
    check_choice('mode', mode, MODES)
    _check_alpha(alpha)
    _check_once(mode, with_task)
    if target is None and (with_task or mode != 'plain'):
        raise ConfigError(
            f"mode='{mode}' with with_task={with_task} needs targets, and there are "
            "none. Read them with view='roi.deltas', 'rpn.deltas', 'head.deltas' or "
            "'depth.map'."
        )
    check_same_shape(student, teacher, layout=LAYOUT)
    aim = teacher if target is None else target
    check_same_shape(student, aim, layout=LAYOUT, names=('student', 'target'))
    aim, _, _ = pixel_rows(aim, teacher, None)
    student, teacher, mask = pixel_rows(student, teacher, mask)
    with float32_rows(student, teacher, aim, mask=mask) as (student, teacher, aim):
        task = (student - aim).square().sum(dim=1)  # (R,)
        imitation = (student - teacher).square().sum(dim=1)
        error = (teacher - aim).square().sum(dim=1).detach()
        if mode == 'minimum':
            each = torch.minimum(task, imitation)
        else:
            if mode == 'attentive':
                imitation = imitation * teacher_reliability(error, normalizer, clamp)
            elif mode == 'bounded':
                worse = task.detach() > error
                imitation = torch.where(worse, imitation, torch.zeros_like(imitation))
            each = (1 - alpha) * imitation
            if with_task:
                each = each + alpha * task
        return reduce_loss(each, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class AILLoss(DistillationLoss):
    r"""Weighted :func:`attentive_imitation`.

    :math:`\eta` is a measured number, as in the paper; or the range of the errors of
    the batches, over all ranks, which depends on the batches. The levels or stages of a
    pair share it.

    Args:
        loss_weight: factor of the value, >= 0.
        mode: the options down to ``clamp`` apply to 'attentive' only.
        normalizer: a number > 0; 'batch', the range of the errors of each batch; or
            'running', which follows the smallest and the largest of the batches.
        percentile: of 'batch' and 'running', above 0 and up to 100: the percentile of
            the errors that counts as the largest.
        momentum: of 'running', below 1, the share of the previous value.
        warmup: of 'running', number of batches with rows until the range is used;
            until then :math:`\Phi` is 1.
        with_task: the head's own term stays beside it, and beside the mode 'minimum',
            unless ``task_loss_weights`` sets it to 0.

    Other arguments: as of :func:`attentive_imitation`.
    Raises: ConfigError for invalid values, and for a pair without targets.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        mode: str = 'attentive',
        normalizer: float | str = 'running',
        percentile: float = 100.0,
        momentum: float = 0.99,
        warmup: int = 500,
        clamp: bool = True,
        alpha: float = 0.5,
        with_task: bool = False,
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.mode = check_choice('mode', mode, MODES)
        self.clamp = clamp
        self.alpha = _check_alpha(alpha)
        self.with_task = with_task
        _check_once(mode, with_task)
        self.normalizer = check_normalizer(normalizer, percentile)
        self.percentile = percentile
        running = RunningRange(momentum, warmup)
        self.range: BatchRange | RunningRange | None = None
        if mode == 'attentive' and isinstance(normalizer, str):
            self.range = running if normalizer == 'running' else BatchRange()

    @property
    def needs_target(self) -> bool:
        """Only the plain imitation has no target."""
        return self.with_task or self.mode != 'plain'

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these rows; see :func:`attentive_imitation`."""
        return self.loss_weight * attentive_imitation(
            student,
            teacher.detach(),
            None if target is None else target.detach(),
            mode=self.mode,
            normalizer=self._normalizer(teacher, target, mask),
            clamp=self.clamp,
            alpha=self.alpha,
            with_task=self.with_task,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )

    def _normalizer(
        self, teacher: Tensor, target: Tensor | None, mask: Tensor | None
    ) -> float | Tensor:
        if self.range is None or target is None:
            return 1.0 if isinstance(self.normalizer, str) else self.normalizer
        extremes = error_range(teacher, target, percentile=self.percentile, mask=mask)
        normalizer: Tensor = self.range(extremes)
        return normalizer


def _check_alpha(alpha: float) -> float:
    if check_float('alpha', alpha) > 1:
        raise ConfigError(f'alpha must be between 0 and 1, got {alpha!r}.')
    return alpha


def _check_once(mode: str, with_task: bool) -> None:
    if mode == 'minimum' and with_task:
        raise ConfigError(
            "mode='minimum' holds the task's term already. Remove with_task."
        )
