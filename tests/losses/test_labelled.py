"""Labels of RoIs and pixels, samples of them, and values block by block."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses._labelled import (
    by_blocks,
    check_same_samples,
    read_labels,
    rows_at,
    sample_pixels,
)

# Of torch 2.4 itself, where it computes a block once more.
pytestmark = pytest.mark.filterwarnings('ignore:.torch.cpu.amp.autocast:FutureWarning')


def test_a_sample_stands_for_all_valid_pixels() -> None:
    valid = torch.rand(3, 8, 9) < 0.5
    valid[1] = False
    maps = torch.randn(3, 2, 8, 9, dtype=torch.float64)
    expected = (maps * valid[:, None]).sum(dim=(0, 2, 3))
    index, weights = sample_pixels(valid, 72)  # all there are
    rows = rows_at(maps, index)
    assert weights.sum() == valid.sum()
    assert_close((rows * weights[:, None].double()).sum(0), expected)
    sums = []
    for _ in range(200):
        index, weights = sample_pixels(valid, 12)
        assert_close(weights.view(3, 12).sum(1), valid.flatten(1).sum(1).float())
        rows = rows_at(maps, index)
        sums.append((rows * weights[:, None]).sum(0))
    error = torch.stack(sums).std(dim=0) / 200**0.5
    assert ((torch.stack(sums).mean(0) - expected).abs() < 4 * error).all()


def test_labels_outside_the_classes_are_none() -> None:
    target = torch.tensor([0, 3, 255, -1, 2, 1])
    mask = torch.tensor([1.0, 1, 1, 1, 1, 0])
    labels, valid = read_labels(target, mask, (6,), 3)
    assert labels.tolist() == [0, 0, 0, 0, 2, 0]
    assert valid.tolist() == [True, False, False, False, True, False]
    labels, _ = read_labels(target.float(), None, (6,), 3)
    assert labels.dtype == torch.long


@pytest.mark.parametrize(
    ('target', 'mask', 'message'),
    [
        (None, None, r'needs labels \(2, 4, 5\) as target, got none\. Use a view'),
        ((2, 5, 4), None, r'needs labels \(2, 4, 5\) as target, got \(2, 5, 4\)'),
        ((2, 4, 5), (2,), r'mask must be \(2, 4, 5\), one number per pixel, got'),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    target: Any, mask: Any, message: str
) -> None:
    target, mask = (
        None if shape is None else torch.zeros(shape) for shape in (target, mask)
    )
    with pytest.raises(ShapeError, match=message):
        read_labels(target, mask, (2, 4, 5), 3)


@pytest.mark.parametrize(
    ('student', 'teacher', 'message'),
    [
        ((3, 4), (2, 5), 'must be rows .* of the same samples in the same order'),
        ((3, 4), (3, 5, 1, 1), 'must be rows'),
        ((3, 4, 1, 1), (3, 5), r'teacher must be \(N, C, H, W\)'),
        ((3, 4, 2, 1), (3, 5, 1, 1), 'differ in batch size, height or width'),
        ((3, 5), (3, 5), r'student \(3, 5\) has 5 channels, not 4\. Set student_chan'),
        ((3, 4), (3, 4), r'teacher \(3, 4\) has 4 .* Set teacher_channels=4'),
    ],
)
def test_different_samples_or_channels_are_refused(
    student: Any, teacher: Any, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        check_same_samples(torch.zeros(student), torch.zeros(teacher), (4, 5))


@pytest.mark.parametrize('block', [1, 3, 7, 99])
def test_blocks_change_neither_value_nor_gradient(block: int) -> None:
    rows = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)
    others = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)

    def function(part: Tensor) -> Tensor:
        return (part @ others.T).exp().sum(dim=1)

    value = by_blocks(function, (rows,), block)
    assert_close(value, function(rows))
    found, expected = (
        torch.autograd.grad(item.sum(), (rows, others))
        for item in (value, function(rows))
    )
    for actual, plain in zip(found, expected, strict=True):
        assert_close(actual, plain)
