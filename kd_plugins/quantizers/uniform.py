"""Whole numbers of some bits, symmetric about zero: what int8 convolutions read."""

import torch
from torch import Tensor

from kd_plugins.checks import check_bool
from kd_plugins.quantizers._base import WeightQuantizer, check_bits
from kd_plugins.registry import QUANTIZERS

_SMALLEST = 2.0**-40  # scale of a channel of zeros: any will do


def uniform_scale(weight: Tensor, bits: int, per_channel: bool) -> Tensor:
    """Step between two values: the largest magnitude over the largest whole number.

    Args:
        weight: (outputs, ...).
        bits: b; whole numbers reach 2^(b-1) - 1.
        per_channel: one scale an output, or one of all.

    Returns: shape (outputs,), or ().
    """
    weight = weight.detach()
    largest = weight.flatten(1).abs().amax(1) if per_channel else weight.abs().amax()
    scale: Tensor = largest / (2 ** (bits - 1) - 1)
    return scale.clamp(min=_SMALLEST)


def quantize_uniform(
    weight: Tensor, *, bits: int = 8, per_channel: bool = True
) -> Tensor:
    r"""Round weights to whole multiples of a scale.

    .. math:: Q(w) = s \cdot round(w / s), \quad s = \max |w| / (2^{b-1} - 1)

    The gradient is that of the identity, as no weight lies beyond the largest.

    Args:
        weight: (outputs, ...), float32.
        bits: b, 2 to 8.
        per_channel: one scale an output, or one of all.

    Returns: same shape.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, CVPR 2018, section 3; symmetric, with a scale
        a channel, as in Krishnamoorthi, 2018, https://arxiv.org/abs/1806.08342.

    Example:
        >>> quantize_uniform(torch.tensor([[0.3, -1.0], [4.0, 1.9]]), bits=3)
        tensor([[ 0.3333, -1.0000],
                [ 4.0000,  1.3333]])
    """
    scale = uniform_scale(weight, bits, per_channel)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if per_channel:
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            weight, scale, zeros, 0, low, high
        )
    zero = torch.zeros((), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_tensor_affine(weight, scale, zero, low, high)


@QUANTIZERS.register_module()
class UniformWeights(WeightQuantizer):
    """Weights as :func:`quantize_uniform` rounds them.

    Args:
        bits: 2 to 8; 8 can be exported.
        per_channel: one scale an output, or one of all.

    Raises: ConfigError for invalid values.
    """

    def __init__(self, bits: int = 8, per_channel: bool = True) -> None:
        super().__init__()
        self.bits = check_bits(bits)
        self.per_channel = check_bool('per_channel', per_channel)

    def forward(self, weight: Tensor) -> Tensor:
        return quantize_uniform(weight, bits=self.bits, per_channel=self.per_channel)

    def extra_repr(self) -> str:
        return f'bits={self.bits}, per_channel={self.per_channel}'
