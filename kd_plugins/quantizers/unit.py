"""Whole numbers of some bits on a fixed range: [-1, 1] of weights, [0, 1] of others."""

from torch import Tensor

from kd_plugins.quantizers._base import (
    ActivationQuantizer,
    WeightQuantizer,
    check_bits,
    straight_through,
)
from kd_plugins.registry import QUANTIZERS


def quantize_unit_weights(weight: Tensor, *, bits: int) -> Tensor:
    r"""Clip weights to [-1, 1] and round them to :math:`2^b - 1` values.

    .. math:: Q(w) = round(n \, clip(w, -1, 1)) / n, \quad n = 2^{b-1} - 1

    The gradient is 1 within the range and 0 outside of it.

    Args:
        weight: any shape.
        bits: b, 2 to 8.

    Returns: same shape.

    Source: Mishra and Marr, Apprentice, ICLR 2018, https://arxiv.org/abs/1711.05852.

    Example:
        >>> import torch
        >>> quantize_unit_weights(torch.tensor([-0.9, 0.2, 0.3, 0.6]), bits=2)
        tensor([-1.,  0.,  0.,  1.])
    """
    number = 2 ** (bits - 1) - 1
    clipped = weight.clamp(-1, 1)
    return straight_through(clipped, (clipped * number).round() / number)


def quantize_unit_activations(value: Tensor, *, bits: int) -> Tensor:
    r"""Clip activations to [0, 1] and round them to :math:`2^b` values.

    .. math:: Q(a) = round(n \, clip(a, 0, 1)) / n, \quad n = 2^b - 1

    The gradient is 1 within the range and 0 outside of it.

    Args:
        value: any shape.
        bits: b, 1 to 8.

    Returns: same shape.

    Source: as :func:`quantize_unit_weights`.

    Example:
        >>> import torch
        >>> quantize_unit_activations(torch.tensor([0.1, 0.4, 0.7, 0.95]), bits=2)
        tensor([0.0000, 0.3333, 0.6667, 1.0000])
    """
    number = 2**bits - 1
    clipped = value.clamp(0, 1)
    return straight_through(clipped, (clipped * number).round() / number)


@QUANTIZERS.register_module()
class UnitWeights(WeightQuantizer):
    """Weights as :func:`quantize_unit_weights` rounds them.

    The range does not follow the weights: those that a network starts with are small,
    and of few bits most become zero. :class:`UniformWeights` follows them.

    Args:
        bits: 2 to 8.

    Raises: ConfigError for other bits.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits(bits)

    def forward(self, weight: Tensor) -> Tensor:
        return quantize_unit_weights(weight, bits=self.bits)

    def extra_repr(self) -> str:
        return f'bits={self.bits}'


@QUANTIZERS.register_module()
class UnitActivations(ActivationQuantizer):
    """Activations as :func:`quantize_unit_activations` rounds them.

    Negative ones become zero: layers that read these need :class:`ObservedActivations`,
    or belong among those that stay float.

    Args:
        bits: 1 to 8.

    Raises: ConfigError for other bits.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = check_bits(bits, minimum=1)

    def forward(self, value: Tensor) -> Tensor:
        return quantize_unit_activations(value.float(), bits=self.bits)

    def extra_repr(self) -> str:
        return f'bits={self.bits}'
