"""Masks of single weights: how many go, and which."""

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.compression.pruning.masks import (
    lamp_scores,
    magnitude_scores,
    masks_of,
    sparsity_of,
)
from kd_plugins.errors import ConfigError


def test_magnitude_is_ranked_over_all_layers() -> None:
    weights = {'a': torch.tensor([[-4.0, 1.0]]), 'b': torch.tensor([2.0, -3.0, 0.5])}
    scores = {name: magnitude_scores(weight) for name, weight in weights.items()}
    masks = masks_of(scores, 0.6)
    assert_close(masks['a'], torch.tensor([[1.0, 0.0]]))
    assert_close(masks['b'], torch.tensor([0.0, 1.0, 0.0]))
    assert sparsity_of(masks) == pytest.approx(0.6)


@pytest.mark.parametrize('sparsity', [0.0, 0.3, 0.5, 0.99, 1 - 0.8**2])
def test_the_floor_of_the_share_goes(sparsity: float) -> None:
    scores = {'a': torch.rand(7, 3), 'b': torch.rand(29), 'c': torch.rand(25, 2)}
    masks = masks_of(scores, sparsity)
    removed = sum(int((mask == 0).sum()) for mask in masks.values())
    assert removed == int(sparsity * 100 + 1e-9)
    flat = torch.cat([each.flatten() for each in scores.values()])
    kept = torch.cat([each.flatten() for each in masks.values()]).bool()
    if 0 < removed < 100:
        assert flat[~kept].max() < flat[kept].min()


def test_of_equal_scores_just_so_many_go() -> None:
    masks = masks_of({'a': torch.ones(4), 'b': torch.ones(6)}, 0.5)
    assert_close(masks['a'], torch.zeros(4))
    assert_close(masks['b'], torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]))


def test_lamp_by_hand() -> None:
    # Squares 9, 1, 4: each over the sum of those that are no smaller.
    scores = lamp_scores(torch.tensor([[3.0, -1.0, 2.0]]))
    assert_close(scores, torch.tensor([[9 / 9, 1 / 14, 4 / 13]]))


def test_lamp_by_a_naive_loop() -> None:
    weight = torch.randn(4, 3, 2, 2)
    squares = weight.flatten().square().tolist()
    expected = [
        one / sum(other for other in squares if other >= one) for one in squares
    ]
    assert_close(lamp_scores(weight).flatten(), torch.tensor(expected))


def test_lamp_leaves_the_largest_weight_of_each_layer() -> None:
    large, small = 100 * torch.rand(30), 0.01 * torch.rand(30)
    layers = {'large': large, 'small': small}
    by_lamp = masks_of({name: lamp_scores(each) for name, each in layers.items()}, 0.9)
    assert all(mask.sum() >= 1 for mask in by_lamp.values())
    by_size = masks_of(
        {name: magnitude_scores(each) for name, each in layers.items()}, 0.9
    )
    assert by_size['small'].sum() == 0


def test_weights_that_are_zero_go_first() -> None:
    weight = torch.tensor([0.0, 0.1, 0.0, 5.0])
    for score in (lamp_scores, magnitude_scores):
        mask = masks_of({'a': score(weight)}, 0.5)['a']
        assert_close(mask, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert_close(lamp_scores(torch.zeros(3)), torch.zeros(3))


@pytest.mark.parametrize('sparsity', [1, 1.5, -0.1, float('nan'), '0.5'])
def test_a_sparsity_that_is_none(sparsity: float) -> None:
    with pytest.raises(ConfigError, match='sparsity'):
        masks_of({'a': torch.ones(3)}, sparsity)
