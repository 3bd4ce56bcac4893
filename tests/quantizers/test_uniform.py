"""Symmetric whole numbers: by hand, against a naive loop, at the edges."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.quantizers import UniformWeights, quantize_uniform


def naive(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """One output after the other, in Python's own numbers."""
    rows = []
    for row in weight.flatten(1).double().tolist():
        scale = max(abs(value) for value in row) / (2 ** (bits - 1) - 1)
        rows.append([round(value / scale) * scale for value in row])
    return torch.tensor(rows, dtype=weight.dtype).view_as(weight)


def test_three_bits_by_hand() -> None:
    weight = torch.tensor([[0.3, -1.0], [4.0, 1.9]])
    # Scales 1/3 and 4/3: 0.9 -> 1, -3; 3, 1.425 -> 1.
    expected = torch.tensor([[1 / 3, -1.0], [4.0, 4 / 3]])
    assert_close(quantize_uniform(weight, bits=3), expected)
    # Of all by one scale, 4/3: 0.225 -> 0, -0.75 -> -1.
    expected = torch.tensor([[0.0, -4 / 3], [4.0, 4 / 3]])
    assert_close(quantize_uniform(weight, bits=3, per_channel=False), expected)


@given(bits=st.integers(2, 8), seed=st.integers(0, 100))
def test_equals_a_naive_loop(bits: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 2, 3, 3, generator=random)
    assert_close(quantize_uniform(weight, bits=bits), naive(weight, bits))


@pytest.mark.parametrize('per_channel', [True, False])
def test_gradient_is_that_of_the_identity(per_channel: bool) -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    factor = torch.randn_like(weight)
    quantized = UniformWeights(bits=4, per_channel=per_channel)(weight)
    (quantized * factor).sum().backward()
    assert weight.grad is not None
    assert_close(weight.grad, factor)


def test_quantising_twice_changes_nothing_and_zeros_stay() -> None:
    weight = torch.randn(4, 6)
    once = quantize_uniform(weight, bits=4)
    assert_close(quantize_uniform(once, bits=4), once)
    assert torch.equal(quantize_uniform(torch.zeros(2, 3)), torch.zeros(2, 3))
    assert len(once[0].unique()) <= 15


@pytest.mark.parametrize('bits', [1, 9, 4.0, True])
def test_other_bits_are_refused(bits: object) -> None:
    with pytest.raises(ConfigError, match='bits must be'):
        UniformWeights(bits=bits)  # type: ignore[arg-type]
