"""Whole numbers over the range that a layer's inputs were seen to have."""

import torch
from torch import Tensor

from kd_plugins.checks import check_float
from kd_plugins.errors import ConfigError
from kd_plugins.quantizers._base import ActivationQuantizer, Observing, check_bits
from kd_plugins.registry import QUANTIZERS

_SMALLEST = 2.0**-40  # scale of a range of zeros: any will do


def affine_range(
    minimum: Tensor, maximum: Tensor, *, bits: int = 8
) -> tuple[Tensor, Tensor]:
    """Scale and zero point of a range, which zero belongs to and is hit exactly.

    Args:
        minimum: shape ().
        maximum: same.
        bits: whole numbers go from 0 to 2^bits - 1.

    Returns: scale, float32; zero point, int32: the whole number of zero.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, CVPR 2018, https://arxiv.org/abs/1712.05877,
        section 3.

    Example:
        >>> affine_range(torch.tensor(-1.0), torch.tensor(2.0), bits=2)
        (tensor(1.), tensor(1, dtype=torch.int32))
    """
    number = 2**bits - 1
    low, high = minimum.clamp(max=0), maximum.clamp(min=0)
    scale = ((high - low) / number).clamp(min=_SMALLEST)
    zero = (-low / scale).round().clamp(0, number).int()
    return scale, zero


@QUANTIZERS.register_module()
class ObservedActivations(Observing, ActivationQuantizer):
    """Activations rounded over a range that follows what passes while training.

    The range is a moving average of the least and the largest value of a batch; in
    ``eval()`` it stays as it is. Before anything has passed, values stay float.
    The gradient is 1 within the range and 0 outside of it.

    Args:
        bits: 2 to 8; 8 can be exported.
        momentum: share of a batch in the average, > 0 and at most 1.

    Attributes:
        minimum: shape ().
        maximum: shape ().

    Raises: ConfigError for invalid values.

    Source: Jacob et al., as :func:`affine_range`, section 3.1.
    """

    minimum: Tensor
    maximum: Tensor

    def __init__(self, bits: int = 8, momentum: float = 0.01) -> None:
        super().__init__()
        self.bits = check_bits(bits)
        self.momentum = check_float('momentum', momentum, strict=True)
        if momentum > 1:
            raise ConfigError(f'momentum must be at most 1, got {momentum!r}.')
        self.register_buffer('minimum', torch.zeros(()))
        self.register_buffer('maximum', torch.zeros(()))
        self._widening = False

    def start_widening(self) -> None:
        """From now on the range is all that passes, and values pass as they are."""
        self._widening = True
        self.is_observed.fill_(False)

    def stop_widening(self) -> None:
        """Values are rounded again."""
        self._widening = False

    def forward(self, value: Tensor) -> Tensor:
        value = value.float()
        if (self._widening or self.observes) and value.numel():
            self._observe(value.detach())
        if self._widening or not self.is_observed:
            return value
        scale, zero = affine_range(self.minimum, self.maximum, bits=self.bits)
        return torch.fake_quantize_per_tensor_affine(
            value, scale, zero, 0, 2**self.bits - 1
        )

    def _observe(self, value: Tensor) -> None:
        low, high = value.aminmax()
        if not self.is_observed:
            self.minimum.copy_(low)
            self.maximum.copy_(high)
            self.is_observed.fill_(True)
        elif self._widening:
            self.minimum.copy_(torch.minimum(self.minimum, low))
            self.maximum.copy_(torch.maximum(self.maximum, high))
        else:
            self.minimum.lerp_(low, self.momentum)
            self.maximum.lerp_(high, self.momentum)

    def extra_repr(self) -> str:
        return f'bits={self.bits}, momentum={self.momentum}'
