"""Tensors as bytes, and back."""

import math

import pytest
import torch

from kd_plugins.errors import DistillationError
from kd_plugins.teachers.cache.codec import Layout


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_whole_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    rows = (5 * torch.randn(3, 2, 5, 7)).to(dtype)
    layout = Layout((2, 5, 7), dtype, dtype)
    content = layout.encode(rows)
    assert content.shape == (3, layout.nbytes)
    read = layout.decode(content)
    assert read.dtype == dtype and torch.equal(read, rows)


def test_features_in_half_precision_lose_a_two_thousandth() -> None:
    rows = torch.randn(3, 4, 5, 5)
    layout = Layout((4, 5, 5), torch.float32, torch.float16)
    assert layout.nbytes == 4 * 5 * 5 * 2
    read = layout.decode(layout.encode(rows))
    assert read.dtype == torch.float32
    assert torch.allclose(read, rows, rtol=5e-4, atol=1e-7)


def test_features_too_large_for_half_precision_are_refused() -> None:
    layout = Layout((2,), torch.float32, torch.float16)
    with pytest.raises(DistillationError, match=r"7e\+04, is larger .*dtype='float32'"):
        layout.encode(torch.tensor([[1.0, 7e4]]))


def test_the_most_probable_classes_by_hand() -> None:
    probs = torch.tensor([0.5, 0.3, 0.1, 0.06, 0.04])
    layout = Layout((5, 1, 1), torch.float32, torch.float16, 2)
    assert layout.nbytes == 2 + 3 * 2  # two numbers of classes, three probabilities
    logits = probs.log().view(1, 5, 1, 1) + 3
    read = layout.decode(layout.encode(logits)).softmax(dim=1).flatten()
    expected = torch.tensor([0.5, 0.3, 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert torch.allclose(read, expected, atol=5e-4)


def test_classes_of_every_pixel_are_its_own() -> None:
    logits = 4 * torch.randn(2, 300, 6, 5)  # more classes than a byte can number
    layout = Layout((300, 6, 5), torch.float32, torch.float16, 3)
    read = layout.decode(layout.encode(logits))
    best = logits.topk(3, dim=1).indices
    assert torch.equal(read.topk(3, dim=1).indices.sort(1).values, best.sort(1).values)
    kept = logits.softmax(1).gather(1, best), read.softmax(1).gather(1, best)
    assert torch.allclose(*kept, rtol=2e-3)


def test_all_classes_are_the_whole_distribution() -> None:
    logits = torch.randn(1, 4, 3, 3)
    layout = Layout((4, 3, 3), torch.float32, torch.float16, 4)
    read = layout.decode(layout.encode(logits))
    assert torch.allclose(read.softmax(1), logits.softmax(1), atol=1e-3)


def test_a_certain_pixel_stays_finite() -> None:
    logits = torch.tensor([90.0, 0.0, 0.0]).view(1, 3, 1, 1)
    layout = Layout((3, 1, 1), torch.float32, torch.float16, 1)
    read = layout.decode(layout.encode(logits)).flatten()
    assert read.isfinite().all() and read[0] == pytest.approx(0, abs=1e-6)
    assert read[1] == pytest.approx(math.log(1e-8), rel=1e-3)


def test_difference_is_relative_and_of_classes_that_of_probabilities() -> None:
    plain = Layout((2,), torch.float32, torch.float32)
    one = torch.tensor([1.0, -4.0])
    assert plain.difference(one, one) == 0
    assert plain.difference(one, torch.tensor([2.0, -4.0])) == pytest.approx(0.25)
    assert plain.difference(one, torch.tensor([math.nan, -4.0])) == math.inf
    classes = Layout((2, 1, 1), torch.float32, torch.float16, 1)
    logits = torch.tensor([0.0, 0.0]).view(2, 1, 1)
    assert classes.difference(logits, logits + 9) == pytest.approx(0, abs=1e-6)
    other = torch.tensor([0.0, math.log(3)]).view(2, 1, 1)
    assert classes.difference(logits, other) == pytest.approx(0.25, rel=1e-6)


def test_layouts_survive_a_manifest() -> None:
    layout = Layout((19, 8, 8), torch.float32, torch.float16, 4)
    assert Layout.from_dict(layout.as_dict()) == layout
