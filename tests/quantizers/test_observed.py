"""Ranges that follow what passes: by hand, when they move and when not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.quantizers import (
    ObservedActivations,
    PointWeights,
    affine_range,
    frozen_ranges,
)


def test_two_bits_by_hand() -> None:
    quantizer = ObservedActivations(bits=2)
    # Range -1 to 2: scale 1, zero point 1.
    value = torch.tensor([-1.0, -0.4, 0.6, 2.0])
    assert_close(quantizer(value), torch.tensor([-1.0, 0.0, 1.0, 2.0]))


@given(low=st.floats(-3, 3), high=st.floats(-3, 3))
def test_zero_is_hit_exactly(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    scale, zero = affine_range(torch.tensor(low), torch.tensor(high))
    assert 0 <= int(zero) <= 255
    ends = [(number - int(zero)) * float(scale) for number in (0, 255)]
    # What is rounded is the zero point: by half a step.
    assert ends[0] <= min(low, 0) + 0.51 * float(scale)
    assert ends[1] >= max(high, 0) - 0.51 * float(scale)


def test_range_is_a_moving_average_while_training() -> None:
    quantizer = ObservedActivations(momentum=0.1)
    quantizer(torch.tensor([-1.0, 3.0]))
    quantizer(torch.tensor([-2.0, 5.0]))
    assert float(quantizer.minimum) == pytest.approx(-1.1)
    assert float(quantizer.maximum) == pytest.approx(3.2)


def test_range_stays_when_it_does_not_train_and_in_a_second_pass() -> None:
    quantizer = ObservedActivations()
    quantizer(torch.tensor([-1.0, 3.0]))
    quantizer.eval()
    quantizer(torch.tensor([-9.0, 9.0]))
    quantizer.train()
    with frozen_ranges():
        quantizer(torch.tensor([-9.0, 9.0]))
    quantizer(torch.zeros(0))
    assert (float(quantizer.minimum), float(quantizer.maximum)) == (-1.0, 3.0)


def test_gradient_is_cut_beyond_the_range() -> None:
    quantizer = ObservedActivations().eval()
    quantizer.maximum.fill_(1.0)
    quantizer.is_observed.fill_(True)
    value = torch.tensor([-0.5, 0.4, 1.5], requires_grad=True)
    quantizer(value).sum().backward()
    assert value.grad is not None
    assert_close(value.grad, torch.tensor([0.0, 1.0, 0.0]))


def test_before_anything_has_passed_values_stay() -> None:
    value = torch.randn(5)
    assert torch.equal(ObservedActivations().eval()(value), value)


def test_half_precision_is_rounded_in_float32() -> None:
    assert ObservedActivations()(torch.rand(3).bfloat16()).dtype == torch.float32


def test_zeros_alone_are_no_division_by_zero() -> None:
    assert torch.equal(ObservedActivations()(torch.zeros(3)), torch.zeros(3))


def test_widening_takes_all_that_passes_and_rounds_nothing() -> None:
    quantizer = ObservedActivations(bits=2).eval()
    quantizer.start_widening()
    for values in ([-1.0, 3.0], [0.3, 5.0], [-2.0, 1.0]):
        assert torch.equal(quantizer(torch.tensor(values)), torch.tensor(values))
    quantizer.stop_widening()
    assert (float(quantizer.minimum), float(quantizer.maximum)) == (-2.0, 5.0)
    assert_close(quantizer(torch.tensor([0.3])), torch.tensor([0.0]))


def test_positive_and_negative_ranges_by_hand() -> None:
    scale, zero = affine_range(torch.tensor(0.5), torch.tensor(2.55))
    assert (scale.item(), int(zero)) == (pytest.approx(0.01), 0)
    scale, zero = affine_range(torch.tensor(-2.55), torch.tensor(-0.5))
    assert (scale.item(), int(zero)) == (pytest.approx(0.01), 255)


@pytest.mark.parametrize('kind', [ObservedActivations, PointWeights])
def test_a_checkpoint_without_it_loads_and_one_with_it_says_so(kind: type) -> None:
    module, trained = kind(), kind()
    module.load_state_dict({})
    assert not module.is_observed
    trained(torch.randn(300))
    module.load_state_dict(trained.state_dict())
    assert module.is_observed
    for name, value in trained.state_dict().items():
        assert torch.equal(module.state_dict()[name], value)


def test_invalid_values_are_refused() -> None:
    with pytest.raises(ConfigError, match='bits must be 2 to 8, got 16'):
        ObservedActivations(bits=16)
    with pytest.raises(ConfigError, match='momentum must be at most 1'):
        ObservedActivations(momentum=1.5)
    with pytest.raises(ConfigError, match='momentum must be a finite number > 0'):
        ObservedActivations(momentum=0.0)
