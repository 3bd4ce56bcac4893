"""RoIs pooled by rows of channels are those that mmcv pools."""

import pytest
import torch
from mmcv.ops.roi_align import RoIAlign
from torch import nn

from kd_plugins.teachers import row_roi_align
from kd_plugins.teachers.row_roi_align import RowRoIAlign, with_row_roi_align


def rois(number: int = 40) -> torch.Tensor:
    """Of all sizes, on and over the edges; some without area, one turned around."""
    generator = torch.Generator().manual_seed(1)
    start = 90 * torch.rand(number, 2, generator=generator) - 20
    sides = 120 * torch.rand(number, 2, generator=generator) ** 3
    images = torch.arange(number) % 2
    boxes = torch.cat([images[:, None].float(), start, start + sides], dim=1)
    boxes[0, 3:] = boxes[0, 1:3]
    boxes[1, 3] = boxes[1, 1] - 5
    boxes[2, 1:] = torch.tensor([0.0, 0.0, 64.0, 48.0])
    boxes[3, 1:] = torch.tensor([200.0, 200.0, 260.0, 260.0])
    return boxes


@pytest.mark.host
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 1, 2])
@pytest.mark.parametrize('scale', [1.0, 0.25])
def test_means_are_those_of_mmcv(
    aligned: bool, sampling_ratio: int, scale: float
) -> None:
    module = RoIAlign((7, 5), scale, sampling_ratio, aligned=aligned)
    feature = torch.randn(2, 6, round(48 * scale), round(64 * scale))
    boxes = rois()
    if sampling_ratio == 0:  # of what is turned around torchvision fails
        boxes[1, 3] = boxes[1, 1]
    expected = module(feature, boxes)
    last = feature.to(memory_format=torch.channels_last)
    for given in (feature, last):
        pooled = RowRoIAlign(module)(given, boxes)
        torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_so_are_those_of_no_roi(sampling_ratio: int) -> None:
    module = RowRoIAlign(RoIAlign(7, sampling_ratio=sampling_ratio))
    pooled = module(torch.randn(1, 3, 8, 8), torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 7, 7)


def test_many_rois_are_pooled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    module, feature = RowRoIAlign(RoIAlign(4, 0.5, 2)), torch.randn(2, 3, 24, 32)
    whole = module(feature, rois())
    monkeypatch.setattr(row_roi_align, '_ROWS', 4 * 4 * 16 * 3)
    assert torch.equal(module(feature, rois()), whole)


def test_what_does_not_average_stays() -> None:
    layers = nn.ModuleList([RoIAlign(7), RoIAlign(7, pool_mode='max')])
    with_row_roi_align(layers)
    assert [type(layer) for layer in layers] == [RowRoIAlign, RoIAlign]
