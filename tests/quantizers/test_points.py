"""Learnt points: gradients by hand, where they start, how they are shared out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.quantizers import (
    PointWeights,
    nearest_points,
    quantile_points,
    redistributed,
)


def test_gradient_of_two_points_by_hand() -> None:
    points = torch.tensor([0.2, 0.8], requires_grad=True)
    scaled = torch.tensor([0.1, 0.3, 0.9])
    span = 2.0
    quantized = span * nearest_points(scaled, points)
    assert_close(quantized.detach(), torch.tensor([0.4, 0.4, 1.6]))
    (quantized * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert points.grad is not None
    assert_close(points.grad, torch.tensor([6.0, 6.0]))


@given(seed=st.integers(0, 50))
def test_nearest_equals_a_naive_search_in_any_order(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    scaled, points = torch.rand(20, generator=random), torch.rand(5, generator=random)
    expected = points[(scaled[:, None] - points).abs().argmin(1)]
    assert_close(nearest_points(scaled, points), expected)
    assert_close(nearest_points(scaled, points.flip(0)), expected)


def test_of_two_as_near_it_is_the_lower_one() -> None:
    points = torch.tensor([0.0, 0.5, 1.0])
    found = nearest_points(torch.tensor([0.25, 0.75]), points)
    assert_close(found, torch.tensor([0.0, 0.5]))


def test_quantiles_of_a_uniform_tensor_are_the_uniform_grid() -> None:
    points = quantile_points(torch.linspace(0, 1, 1001), 16)
    assert_close(points, torch.linspace(0, 1, 16))


def test_quantiles_equal_those_of_torch() -> None:
    values = torch.randn(77)
    expected = torch.quantile(values, torch.linspace(0, 1, 6))
    assert_close(quantile_points(values, 6), expected)


def test_as_many_points_as_values_cost_nothing() -> None:
    weight = torch.tensor([[0.0, 0.1, 0.7], [1.0, 0.7, 0.1]])
    quantizer = PointWeights(points=4, bucket_size=None)
    quantizer.points.data = torch.tensor([0.0, 0.1, 0.7, 1.0])
    quantizer.is_observed.fill_(True)
    assert_close(quantizer(weight), weight)


def test_points_start_where_the_weights_are_when_training_does() -> None:
    weight = torch.randn(8, 10)
    quantizer = PointWeights(points=4, bucket_size=None).eval()
    assert torch.equal(quantizer(weight), weight)  # before: float
    quantizer.train()
    quantized = quantizer(weight)
    scaled = (weight - weight.min()) / (weight.max() - weight.min())
    assert_close(quantizer.points.detach(), quantile_points(scaled, 4))
    assert len(quantized.detach().unique()) == 4
    quantizer.eval()
    assert torch.equal(quantizer(weight), quantized)


def test_shares_of_points_by_hand() -> None:
    # Each keeps 8 of 16; 16 are shared 3 : 1.
    assert redistributed(16, {'a': 3.0, 'b': 1.0}) == {'a': 20, 'b': 12}
    # 24 to share, 8 each, by 1 : 1 : 2 -> 6, 6, 12.
    shares = redistributed(16, {'a': 1.0, 'b': 1.0, 'c': 2.0})
    assert shares == {'a': 14, 'b': 14, 'c': 20}
    # 12.6, 6.3 and 5.05 of 24: the one that rounding leaves goes to the largest.
    shares = redistributed(16, {'a': 1.0, 'b': 0.5, 'c': 0.4})
    assert shares == {'a': 21, 'b': 14, 'c': 13}


def test_no_gradient_anywhere_is_refused() -> None:
    with pytest.raises(ConfigError, match='the gradient of all quantised weights is 0'):
        redistributed(16, {'a': 0.0, 'b': 0.0})


def test_a_checkpoint_of_other_numbers_of_points_loads() -> None:
    trained, fresh = PointWeights(points=16), PointWeights(points=16)
    trained.start(torch.randn(300), number=20)
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh.points, trained.points)
    assert bool(fresh.is_observed)
