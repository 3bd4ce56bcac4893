"""What quantisers of weights and of activations have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kd_plugins.checks import check_int
from kd_plugins.errors import ConfigError

MAX_BITS = 8


def check_bits(bits: object, minimum: int = 2) -> int:
    """The value, if it is a number of bits that a quantiser can have.

    Raises: ConfigError otherwise.

    Example:
        >>> check_bits(4)
        4
    """
    number = check_int('bits', bits, minimum)
    if number > MAX_BITS:
        raise ConfigError(
            f'bits must be {minimum} to {MAX_BITS}, got {number}. For float leave the '
            'quantiser out: None.'
        )
    return number


def straight_through(value: Tensor, quantized: Tensor) -> Tensor:
    """The quantised value, with the gradient of the value.

    Args:
        value: any shape.
        quantized: same shape.

    Example:
        >>> weight = torch.tensor([0.2, 0.7], requires_grad=True)
        >>> straight_through(weight, weight.round()).sum().backward()
        >>> weight.grad
        tensor([1., 1.])
    """
    return value + (quantized - value).detach()


class WeightQuantizer(nn.Module):
    """Base of the modules that quantise the weight of a layer.

    Attributes:
        trains_weights: whether the weights learn; if not, only what the quantiser
            itself learns does.
    """

    trains_weights: ClassVar[bool] = True

    def forward(self, weight: Tensor) -> Tensor:
        """Quantised weights.

        Args:
            weight: of a layer, (outputs, ...), float32.

        Returns: same shape, with a gradient.
        """
        raise NotImplementedError


class ActivationQuantizer(nn.Module):
    """Base of the modules that quantise what a layer reads."""

    def forward(self, value: Tensor) -> Tensor:
        """Quantised values.

        Args:
            value: any shape, any float dtype.

        Returns: same shape, float32.
        """
        raise NotImplementedError


class Observing(nn.Module):
    """What learns from the tensors that pass, while training, and keeps it in buffers.

    A checkpoint of a model that was not quantised has none of these: it loads, and what
    was not observed stays so.

    Attributes:
        is_observed: whether it has seen any.
    """

    is_observed: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('is_observed', torch.tensor(False))

    @property
    def observes(self) -> bool:
        """Whether the next tensor is looked at."""
        return self.training and not _FROZEN

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        # A plain checkpoint of the layer: neither missing, nor an error of strictness.
        if not any(key.startswith(prefix) for key in state_dict):
            state_dict.update(
                {prefix + key: value for key, value in self.state_dict().items()}
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


_FROZEN: list[None] = []


@contextmanager
def frozen_ranges() -> Iterator[None]:
    """A block in which no quantiser learns from what passes, such as a second pass."""
    _FROZEN.append(None)
    try:
        yield
    finally:
        _FROZEN.pop()
