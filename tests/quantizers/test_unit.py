"""Fixed ranges, by hand; no gradient outside of them."""

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.quantizers import (
    UnitActivations,
    UnitWeights,
    quantize_unit_activations,
    quantize_unit_weights,
)


def test_two_bits_of_weights_by_hand() -> None:
    weight = torch.tensor([-0.9, -0.2, 0.3, 0.6])
    expected = torch.tensor([-1.0, 0.0, 0.0, 1.0])
    assert_close(quantize_unit_weights(weight, bits=2), expected)


def test_two_bits_of_activations_by_hand() -> None:
    value = torch.tensor([0.1, 0.4, 0.7, 0.95])
    expected = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0])
    assert_close(quantize_unit_activations(value, bits=2), expected)


def test_weights_beyond_the_range_have_no_gradient() -> None:
    weight = torch.tensor([-1.5, -0.4, 0.6, 2.0], requires_grad=True)
    quantized = UnitWeights(bits=3)(weight)
    assert_close(quantized.detach(), torch.tensor([-1.0, -1 / 3, 2 / 3, 1.0]))
    quantized.sum().backward()
    assert weight.grad is not None
    assert_close(weight.grad, torch.tensor([0.0, 1.0, 1.0, 0.0]))


def test_activations_beyond_the_range_have_no_gradient() -> None:
    value = torch.tensor([-0.5, 0.3, 0.8, 1.5], requires_grad=True)
    quantized = UnitActivations(bits=1)(value)
    assert_close(quantized.detach(), torch.tensor([0.0, 0.0, 1.0, 1.0]))
    quantized.sum().backward()
    assert value.grad is not None
    assert_close(value.grad, torch.tensor([0.0, 1.0, 1.0, 0.0]))


def test_half_precision_comes_back_in_float32() -> None:
    assert UnitActivations(bits=8)(torch.rand(3).bfloat16()).dtype == torch.float32


def test_other_bits_are_refused() -> None:
    with pytest.raises(ConfigError, match='bits must be'):
        UnitWeights(bits=1)
    with pytest.raises(ConfigError, match='bits must be'):
        UnitActivations(bits=0)
