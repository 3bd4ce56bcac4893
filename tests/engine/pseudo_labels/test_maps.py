"""Labels of pixels, hard and soft."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kd_plugins.engine.pseudo_labels import (
    label_map,
    most_probable,
    read_soft_labels,
)
from kd_plugins.errors import ShapeError

PROBS = torch.tensor([[[0.7, 0.1]], [[0.2, 0.5]], [[0.1, 0.4]]])  # (3, 1, 2)


@pytest.mark.parametrize(
    ('threshold', 'labels'),
    [(0.0, [0, 1]), (0.5, [0, 1]), (0.6, [0, 255]), (1.1, [255, 255])],
)
def test_pixels_below_the_threshold_are_ignored(
    threshold: float, labels: list[int]
) -> None:
    found = label_map(PROBS, threshold)
    assert found.tolist() == [labels] and found.dtype == torch.uint8


def test_the_most_probable_classes_come_first() -> None:
    classes, values = most_probable(PROBS, 2)
    assert classes.tolist() == [[[0, 1]], [[1, 2]]]
    expected = torch.tensor([[[0.7, 0.5]], [[0.2, 0.4]]])
    assert_close(values.float(), expected, rtol=1e-3, atol=0)


def test_what_is_left_is_spread_over_the_others(tmp_path: Path) -> None:
    classes, values = most_probable(PROBS, 1)
    np.savez(tmp_path / 'a.npz', classes=classes.numpy(), probs=values.numpy())
    probs = read_soft_labels(tmp_path / 'a.npz', 3)
    expected = torch.tensor([[[0.7, 0.25]], [[0.15, 0.5]], [[0.15, 0.25]]])
    assert_close(probs, expected, rtol=1e-3, atol=1e-3)


def test_all_classes_come_back_as_they_were(tmp_path: Path) -> None:
    classes, values = most_probable(PROBS, 3)
    np.savez(tmp_path / 'a.npz', classes=classes.numpy(), probs=values.numpy())
    assert_close(read_soft_labels(tmp_path / 'a.npz', 3), PROBS, rtol=1e-3, atol=1e-3)


def test_more_classes_than_there_are() -> None:
    with pytest.raises(ShapeError, match='4 of 3 classes'):
        most_probable(PROBS, 4)
    with pytest.raises(ShapeError, match=r'K at most 255, got \(256, 1, 1\)'):
        label_map(torch.zeros(256, 1, 1), 0.5)
