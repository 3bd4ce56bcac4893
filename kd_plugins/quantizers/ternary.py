"""Three values: minus a scale, zero, plus a scale."""

import torch
from torch import Tensor

from kd_plugins.quantizers._base import WeightQuantizer, straight_through
from kd_plugins.registry import QUANTIZERS

_THRESHOLD = 0.7  # of the mean magnitude


def quantize_ternary(weight: Tensor) -> Tensor:
    r"""Large weights become their mean magnitude, with their sign; small ones zero.

    .. math::
        Q(w) = \begin{cases} s \cdot sign(w) & |w| > D \\ 0 & else \end{cases},
        \quad D = 0.7 \, mean |w|, \quad s = mean_{|w| > D} |w|

    The gradient is that of the identity.

    Args:
        weight: any shape, of one layer.

    Returns: same shape.

    Source: Mishra and Marr, Apprentice, ICLR 2018, https://arxiv.org/abs/1711.05852,
        with ternary weights as in Li et al., Ternary Weight Networks, 2016,
        https://arxiv.org/abs/1605.04711.

    Example:
        >>> quantize_ternary(torch.tensor([0.9, -0.8, 0.1, -0.05]))
        tensor([ 0.8500, -0.8500,  0.0000,  0.0000])
    """
    magnitude = weight.detach().abs()
    kept = magnitude > _THRESHOLD * magnitude.mean()
    # Of zeros alone none is kept, and there is no mean.
    scale = (magnitude * kept).sum() / kept.sum().clamp(min=1)
    return straight_through(weight, scale * kept * torch.sign(weight.detach()))


@QUANTIZERS.register_module()
class TernaryWeights(WeightQuantizer):
    """Weights as :func:`quantize_ternary` gives them, by one scale a layer."""

    def forward(self, weight: Tensor) -> Tensor:
        return quantize_ternary(weight)
