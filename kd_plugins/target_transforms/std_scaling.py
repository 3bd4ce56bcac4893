"""Logits over their own standard deviation, of Choi et al. 2023."""

from dataclasses import replace

import torch
from torch import Tensor

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext
from kd_plugins.losses._base import is_sigmoid
from kd_plugins.losses._reductions import float32_rows
from kd_plugins.registry import TARGET_TRANSFORMS
from kd_plugins.target_transforms._base import ComparedRows, TargetTransform

# The smallest deviation that a row is divided by: a smaller one would enlarge its
# noise, in the value and in the gradient.
_STD_EPS = 1e-4


def std_scaled(logits: Tensor) -> Tensor:
    r"""Each row over its standard deviation; its mean stays.

    .. math:: u_i = z_i / \sigma_{z_i}

    Args:
        logits: shape (M, K), or maps (N, K, H, W) whose pixels are rows, K > 2; any
            float dtype. The deviation is that of a sample (K - 1), and takes a
            gradient.

    Returns: same shape, float32 or float64.
    Raises: ShapeError for fewer than three columns: of two, the row's order alone would
        be left.
    Source: Choi et al., Understanding the Role of Mixup in Knowledge Distillation: An
        Empirical Study, WACV 2023, https://arxiv.org/abs/2211.03946. Author code:
        https://github.com/hchoi71/MIX-KD, which divides by 0 where a row is constant;
        here the deviation is 1e-4 at least.

    Example:
        >>> std_scaled(torch.tensor([[1.0, 0.0, 0.0]]))
        tensor([[1.7321, 0.0000, 0.0000]])
    """
    if logits.shape[1] < 3:
        raise ShapeError(
            'StdScalingTransform needs three columns or more, logits are '
            f'{tuple(logits.shape)}: two scaled columns hold only their order. Remove '
            'target_transform.'
        )
    with float32_rows(logits) as (rows,):
        centred = rows - rows.mean(dim=1, keepdim=True)
        variance = centred.square().sum(dim=1, keepdim=True) / (rows.shape[1] - 1)
        scaled: Tensor = rows / variance.clamp(min=_STD_EPS**2).sqrt()
        return scaled


@TARGET_TRANSFORMS.register_module()
class StdScalingTransform(TargetTransform):
    """Logits of both models, each row over its own standard deviation.

    The paper scales so where images are mixed, with a temperature of 1 and weights 0.9
    of the distillation, 0.1 of the labels.
    """

    def __call__(self, rows: ComparedRows, context: LossContext) -> ComparedRows:
        """The rows with both logits scaled.

        Raises: ConfigError for logits of a sigmoid each; ShapeError for fewer than
            three columns.
        """
        if is_sigmoid(None, context, rows.teacher):
            raise ConfigError(
                'StdScalingTransform needs the logits of one softmax, and these are '
                'independent logits (sigmoid). Remove target_transform.'
            )
        student, dropped = rows.student, None
        if rows.mask is not None:  # a dropped row may hold anything
            dropped = (rows.mask <= 0).unsqueeze(1)
            student = student.masked_fill(dropped, 0.0)
        teacher = torch.no_grad()(std_scaled)(rows.teacher.detach())
        return replace(rows, student=std_scaled(student), teacher=teacher)
