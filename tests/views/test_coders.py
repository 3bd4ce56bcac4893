"""Deltas of one box coder, said in another."""

from typing import Any

import pytest
import torch
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    LegacyDeltaXYWHBBoxCoder,
)
from torch import Tensor

from kd_plugins.views import coders
from kd_plugins.views.coders import same_coder, translate

ROI = DeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
LATER = DeltaXYWHBBoxCoder((0.1, 0.0, 0.0, 0.2), (0.05, 0.05, 0.1, 0.1))
CLAMPED = DeltaXYWHBBoxCoder(add_ctr_clamp=True, ctr_clamp=4)
LEGACY = LegacyDeltaXYWHBBoxCoder()


def boxes_and_deltas() -> tuple[Tensor, Tensor]:
    corners = torch.rand(20, 2) * 300
    boxes = torch.cat([corners, corners + 5 + torch.rand(20, 2) * 200], dim=1)
    return boxes, torch.randn(20, 4)


@pytest.mark.parametrize(
    ('source', 'target'),
    [(ROI, LATER), (LATER, ROI), (CLAMPED, ROI), (ROI, LEGACY), (LEGACY, LATER)],
)
def test_equals_decoding_and_encoding(source: Any, target: Any) -> None:
    boxes, deltas = boxes_and_deltas()
    expected = target.encode(boxes, source.decode(boxes, deltas))
    translated = translate(deltas, boxes, source, target)
    torch.testing.assert_close(translated, expected, rtol=1e-3, atol=1e-3)


def test_extreme_sides_are_limited_as_in_decoding() -> None:
    boxes, deltas = boxes_and_deltas()
    deltas[:, 2:] = 100.0
    expected = LATER.encode(boxes, ROI.decode(boxes, deltas))
    translated = translate(deltas, boxes, ROI, LATER)
    torch.testing.assert_close(translated, expected, rtol=1e-3, atol=1e-3)


def test_empty_boxes_stay_finite() -> None:
    boxes = torch.tensor([[5.0, 5.0, 5.0, 9.0]])
    assert translate(torch.ones(1, 4), boxes, ROI, LATER).isfinite().all()


def test_same_only_where_deltas_mean_the_same() -> None:
    assert same_coder(ROI, DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2]))
    assert not same_coder(ROI, LATER)
    assert not same_coder(ROI, LEGACY)
    assert not same_coder(DeltaXYWHBBoxCoder(), CLAMPED)


def test_constants_are_copied_to_a_device_once() -> None:
    like = torch.zeros(1)
    assert coders._row([0.1, 0.2], like) is coders._row((0.1, 0.2), like)
    assert coders._row([0.1], like.double()).dtype == torch.float64
