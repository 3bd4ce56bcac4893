"""Buckets, by hand, against a naive loop, and what rounding may cost."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import KDLoss
from kd_plugins.quantizers import (
    BucketedWeights,
    ObservedActivations,
    PointWeights,
    UniformWeights,
    quantize_bucketed,
)


def naive(weight: torch.Tensor, bits: int, size: int) -> torch.Tensor:
    flat, quantized = weight.flatten().double().tolist(), []
    for start in range(0, len(flat), size):
        bucket = flat[start : start + size]
        low, steps = min(bucket), 2**bits - 1
        span = max(bucket) - low or 1.0
        quantized += [
            span * round((value - low) / span * steps) / steps + low for value in bucket
        ]
    return torch.tensor(quantized, dtype=weight.dtype).view_as(weight)


@pytest.mark.parametrize(
    ('weight', 'expected'),
    [
        ([0.0, 0.3, 0.6, 1.0], [0.0, 1 / 3, 2 / 3, 1.0]),
        ([-1.0, 0.1, 0.2, 1.0], [-1.0, 1 / 3, 1 / 3, 1.0]),
    ],
)
def test_two_bits_by_hand(weight: list[float], expected: list[float]) -> None:
    quantized = quantize_bucketed(torch.tensor(weight), bits=2)
    assert_close(quantized, torch.tensor(expected))


@given(bits=st.integers(1, 8), size=st.integers(1, 20), seed=st.integers(0, 50))
def test_equals_a_naive_loop(bits: int, size: int, seed: int) -> None:
    weight = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(seed))
    quantized = quantize_bucketed(weight, bits=bits, bucket_size=size)
    assert_close(quantized, naive(weight, bits, size))


def test_quantising_twice_changes_nothing() -> None:
    once = quantize_bucketed(torch.randn(70), bits=3, bucket_size=16)
    assert_close(quantize_bucketed(once, bits=3, bucket_size=16), once)


def test_one_value_stays() -> None:
    weight = torch.full((3, 2), 0.7)
    assert_close(quantize_bucketed(weight, bits=2), weight)


def test_error_of_one_bucket_is_at_most_half_a_step() -> None:
    weight = torch.randn(500)
    span = float(weight.max() - weight.min())
    error = (quantize_bucketed(weight, bits=4, bucket_size=None) - weight).abs().max()
    assert float(error) <= span / (2 * (2**4 - 1)) + 1e-6


def test_float_weights_move_by_the_gradient_at_the_quantised_ones() -> None:
    weight = torch.nn.Parameter(torch.tensor([0.0, 0.3, 0.6, 1.0]))
    before = weight.detach().clone()
    quantizer = BucketedWeights(bits=2)
    (quantizer(weight) ** 2).sum().backward()
    gradient = 2 * torch.tensor([0.0, 1 / 3, 2 / 3, 1.0])
    torch.optim.SGD([weight], lr=0.0).step()
    assert torch.equal(weight.detach(), before)
    torch.optim.SGD([weight], lr=0.5).step()
    assert_close(weight.detach(), before - 0.5 * gradient)


def test_loss_of_the_paper_by_hand() -> None:
    # 0.7 T^2 KL / classes + 0.3 cross-entropy, T = 2.
    student, teacher = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[2.0, 1.0, 0.0]])
    kd = KDLoss(temperature=2.0, loss_weight=0.7 / 3)(student, teacher)
    task = torch.nn.functional.cross_entropy(student, torch.tensor([0]))
    assert float(kd) / 0.7 == pytest.approx(0.027927, abs=1e-6)
    assert float(kd + 0.3 * task) == pytest.approx(0.184982, abs=1e-6)


def test_what_is_left_out_is_as_documented() -> None:
    assert repr(BucketedWeights(bits=4)) == 'BucketedWeights(bits=4, bucket_size=256)'
    assert repr(PointWeights()) == 'PointWeights(points=16, bucket_size=256)'
    assert repr(UniformWeights()) == 'UniformWeights(bits=8, per_channel=True)'
    expected = 'ObservedActivations(bits=8, momentum=0.01)'
    assert repr(ObservedActivations()) == expected


def test_invalid_values_are_refused() -> None:
    with pytest.raises(ConfigError, match='bits must be'):
        BucketedWeights(bits=0)
    with pytest.raises(ConfigError, match='bucket_size must be'):
        BucketedWeights(bits=4, bucket_size=0)
