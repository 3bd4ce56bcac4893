"""Overhaul of feature distillation, of Heo et al. 2019: distance beyond the ReLU."""

import math
from numbers import Real

import torch
from torch import Tensor, nn

from kd_plugins.checks import check_same_shape
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses._reductions import float32_rows, reduce_loss
from kd_plugins.registry import LOSSES

# Below this share of negative responses their mean is replaced by -3 g, as in the
# released code.
_RARE = 1e-3
_NO_SCALE = 1e-12  # of a pruned channel


def negative_mean(weight: Tensor, bias: Tensor) -> Tensor:
    r"""Mean of the negative responses of each channel after a batch norm.

    .. math:: m_c = \mathbb{E}[x \mid x < 0] = b - g \,
        \frac{\phi(b / g)}{\Phi(-b / g)}, \qquad x \sim N(b, g^2), \; g = |w_c|

    and -3 g if at most one response in a thousand is negative; phi and Phi are the
    density and the distribution function of the standard normal distribution.

    Args:
        weight: w, scales of the batch norm, shape (C,), any float dtype.
        bias: b, its shifts, same shape or a single one.

    Returns: shape (C,), <= 0, in the units of the feature, without gradient.

    Example:
        >>> import torch
        >>> negative_mean(torch.ones(1), torch.zeros(1))
        tensor([-0.7979])
    """
    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
        scale = weight.to(torch.promote_types(weight.dtype, torch.float32)).abs()
        scale = scale.clamp(min=_NO_SCALE)
        ratio = bias.to(scale) / scale
        share = torch.special.ndtr(-ratio)
        density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
        mean = bias.to(scale) - scale * density / share
        return torch.where(share > _RARE, mean, -3 * scale)


def partial_l2(
    student: Tensor,
    teacher: Tensor,
    *,
    margin: float | Tensor = 0.0,
    mask: Tensor | None = None,
    avg_factor: float | Tensor | None = None,
    reduction: str = 'mean',
) -> Tensor:
    r"""Squared distance of pre-activations where it changes the ReLU's output.

    .. math:: L_n = \sum_i [s_i > t_i \text{ or } t_i > 0] \, (t_i - s_i)^2, \qquad
        t_i = \max(x_i, m_c)

    over all channels and pixels of a sample. A student below a negative target has no
    loss there.

    Args:
        student: pre-activation after its adapter, shape (N, C, H, W) or (R, C), any
            float dtype. Rows of dimension 0 are samples: images or RoIs.
        teacher: x, same shape; no gradient is needed.
        margin: m, <= 0: one number, or one a channel, shape (C,), as
            from :func:`negative_mean`; with 0 the target is the ReLU of x.
        mask: shape (N,), 1 keeps and 0 drops a sample.
        avg_factor: number of samples 'mean' divides by; default those kept.
        reduction: 'none', 'mean' or 'sum', over samples.

    Returns: squared units of the feature; a scalar, or shape (N,) for 'none'. As in the
        paper it is a sum over C, H, W, which grows with the map.
    Raises: ShapeError if the shapes differ, or for another number of margins.
    Source: Heo et al., A Comprehensive Overhaul of Feature Distillation, ICCV 2019,
        https://arxiv.org/abs/1904.01866. Author code:
        https://github.com/clovaai/overhaul-distillation; it keeps the teacher's batch
        norms in training mode; here the teacher is in ``eval()``.

    Example:
        >>> import torch
        >>> student = torch.tensor([[-1.0, 0.5, 0.5]])
        >>> teacher = torch.full((1, 3), -2.0)
        >>> partial_l2(student, teacher, margin=torch.tensor([-0.5, -0.5, 0.0]))
        tensor(1.2500)
    """
    check_same_shape(student, teacher, layout='NCHW|NC')
    if isinstance(margin, Tensor):
        channels = student.shape[1]
        if margin.shape != (channels,):
            raise ShapeError(
                f'margin must be ({channels},), one number per channel, got '
                f'{tuple(margin.shape)}.'
            )
        margin = margin.view(1, -1, *[1] * (student.dim() - 2))
    with float32_rows(student, teacher, mask=mask) as (student, teacher):
        if isinstance(margin, Tensor):
            target = torch.maximum(teacher, margin.to(teacher))
        else:
            target = teacher.clamp(min=margin)
        counts = (student > target) | (target > 0)
        distance = torch.where(counts, (target - student).square(), 0.0)
        per_sample = distance.flatten(1).sum(dim=1)  # (N,)
        return reduce_loss(per_sample, reduction, mask=mask, avg_factor=avg_factor)


@LOSSES.register_module()
class OFDLoss(DistillationLoss):
    """Weighted :func:`partial_l2`.

    It compares the inputs of activations: ``layer='backbone.layer4.1.relu',
    value='input', levels=[1]`` is the end of a stage of mmdet's ResNet-18. The
    student's adapter is ``dict(type='ConvAdapter', norm=True)``. Use one pair for
    each stage; the released code halves the weight from each stage to the one before.

    Args:
        loss_weight: factor of the value, >= 0 (the released code, for the last stage:
            1e-3 on CIFAR, 1e-4 on ImageNet, 1e-5 for segmentation).
        margin: 'auto', the :func:`negative_mean` of the teacher's batch norm before the
            activation, computed once for each level; or a number <= 0 for all channels,
            0 without a batch norm (an FPN).

    Other arguments: as of :func:`partial_l2`.
    Raises: ConfigError for invalid values, and for 'auto' without batch norm.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        margin: float | str = 'auto',
        reduction: str = 'mean',
    ) -> None:
        super().__init__(loss_weight, reduction)
        number = isinstance(margin, Real) and not isinstance(margin, bool)
        if margin != 'auto' and not (number and -math.inf < float(margin) <= 0):
            raise ConfigError(
                f"margin must be 'auto' or a finite number <= 0, got {margin!r}."
            )
        self.margin = margin
        # Of each level and stage; not buffers: they belong to the teacher.
        self._margins: dict[tuple[int | None, int | None], Tensor] = {}

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        mask: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        context: LossContext | None = None,
    ) -> Tensor:
        """The loss of these samples; see :func:`partial_l2`."""
        return self.loss_weight * partial_l2(
            student,
            teacher.detach(),
            margin=self._margin(context or LossContext()),
            mask=mask,
            avg_factor=avg_factor,
            reduction=self.reduction,
        )

    def _margin(self, context: LossContext) -> float | Tensor:
        if not isinstance(self.margin, str):
            return self.margin
        norm = context.teacher_norm
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                "margin='auto' needs the teacher's batch norm before an activation, "
                "and there is none. Read the activation's input, such as "
                "layer='backbone.layer4.1.relu', value='input', levels=[1], or set "
                'margin=0 in this loss.'
            )
        key = (context.level, context.stage)
        if key not in self._margins:
            weight, bias = norm.weight, norm.bias
            if weight is None:  # affine=False
                weight, bias = torch.ones(norm.num_features), torch.zeros(1)
            self._margins[key] = negative_mean(weight, bias)
        return self._margins[key]
