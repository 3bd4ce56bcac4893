"""Distillation of activation boundaries, of Heo et al. 2019: which neurons fire."""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_plugins.checks import check_float, check_same_shape
from kd_plugins.losses._base import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES


def activation_boundary(
    student: Tensor,
    teacher: Tensor,
    *,
    margin: float = 1.0,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared hinge of the student's pre-activations on the teacher's side of zero.

    .. math:: L_n = \sum_i [t_i > 0] \max(\mu - s_i, 0)^2
        + [t_i \le 0] \max(\mu + s_i, 0)^2

    over all channels and pixels of a sample. It is a differentiable approximation of
    the number of neurons that fire in one model only. It is 0 if each pre-activation of
    the student lies beyond the margin on the teacher's side; of two equal tensors it
    may be > 0.

    Args:
        student: pre-activation after its adapter, shape (N, C, H, W) or (R, C), any
            float dtype. Rows of dimension 0 are samples: images or RoIs.
        teacher: same shape; no gradient is needed, only its signs count.
        margin: mu, > 0, in the units of the student's pre-activation.
        mask: shape (N,), 1 keeps and 0 drops a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: squared units of the feature; a scalar, or shape (N,) for 'none'. As in the
        paper it is a sum over C, H, W, which grows with the map.
    Raises: ShapeError if the shapes differ; ConfigError for a margin <= 0.
    Source: Heo et al., Knowledge Transfer via Distillation of Activation Boundaries
        Formed by Hidden Neurons, AAAI 2019, https://arxiv.org/abs/1811.03233. Author
        code: https://github.com/bhheo/AB_distillation.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[0.0, 0.5, 2.0]], [[1.0, -1.0, 1.0]]])
        >>> activation_boundary(student, teacher)  # 1 + 1.5^2 + 0
        tensor(3.2500)
    """
    check_same_shape(student, teacher, layout='NCHW|NC')
    check_float('margin', margin, strict=True)
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        short = margin - torch.where(teacher > 0, student, -student)
        per_sample = F.relu(short).square().flatten(1).sum(dim=1)  # (N,)
        return reduce_loss(per_sample, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class ABLoss(DistillationLoss):
    """Weighted :func:`activation_boundary`.

    It compares the inputs of activations: ``layer='backbone.layer4.1.relu',
    value='input', levels=[1]`` is the end of a stage of mmdet's ResNet-18. If the
    channels differ, the paper's adapter is ``dict(type='ConvAdapter', norm=True)``. One
    pair for each stage.

    The paper trains in two stages: this loss alone, then the task alone. In one run,
    for a first stage of 1000 iterations::

        model = dict(
            task_loss_weights={
                '*': dict(type='StepSchedule', values=[0, 1], milestones=[1000])
            },
            pairs=dict(
                ab=dict(
                    loss=dict(
                        loss_weight=dict(
                            type='StepSchedule', values=[3e-3, 0], milestones=[1000]
                        )
                    )
                )
            ),
        )

    Args:
        loss_weight: factor of the value, >= 0 (the released code: 3/1000 for the last
            stage, half of it for the one before, and so on).

    Other arguments: as of :func:`activation_boundary`.
    Raises: ConfigError for invalid values.
    """

    def __init__(
        self, loss_weight: float = 1.0, margin: float = 1.0, reduction: str = 'mean'
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.margin = check_float('margin', margin, strict=True)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`activation_boundary`."""
        return self.loss_weight * activation_boundary(
            student,
            teacher.detach(),
            margin=self.margin,
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )
