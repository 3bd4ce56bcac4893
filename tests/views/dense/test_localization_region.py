"""The valuable localization region: near a box, not near enough to be positive."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmengine.structures import InstanceData
from torch import Tensor
from torch.testing import assert_close
from torchvision.ops import box_iou, distance_box_iou

from kd_plugins.views.dense.localization_region import valuable_region

pytestmark = pytest.mark.host


def squares(*lefts: float, side: float = 10.0) -> Tensor:
    """Boxes in a row, of 10 x 10 pixels."""
    left = torch.tensor(lefts)
    top = torch.zeros_like(left)
    return torch.stack([left, top, left + side, top + side], dim=1)


def test_three_anchors_by_hand() -> None:
    # IoU 1, 1/3 and 0: the threshold is 4/9 + 0.509175 = 0.953620. DIoU of the second
    # is 1/3 - 25 / (15^2 + 10^2) = 0.256410, above a quarter of that, 0.238405.
    weights = valuable_region(squares(0, 5, 100), [3], squares(0))
    assert_close(weights, torch.tensor([0.0, 1 / 3, 0.0]))
    # Its own limit: a quarter and a little more.
    limit = 0.256410 / 0.953620
    for gamma, kept in ((limit - 1e-4, 1 / 3), (limit + 1e-4, 0.0)):
        weights = valuable_region(squares(0, 5, 100), [3], squares(0), gamma=gamma)
        assert_close(weights, torch.tensor([0.0, kept, 0.0]))


def test_a_positive_can_lie_in_it_too() -> None:
    """By IoU it is near enough, by DIoU it is not."""
    overlap = 1 / 3  # of the first anchor; the others' is 0
    threshold = overlap / 3 + overlap / math.sqrt(3)  # mean, deviation of a sample
    assert overlap - 25 / (15**2 + 10**2) < threshold < overlap
    weights = valuable_region(squares(5, 200, 300), [3], squares(0))
    assert_close(weights, torch.tensor([overlap, 0.0, 0.0]))


def test_of_several_boxes_the_nearer_one_counts() -> None:
    anchors, boxes = squares(6, 100, 200), squares(0, 13)
    apart = [valuable_region(anchors, [3], box[None]) for box in boxes]
    assert_close(torch.stack(apart)[:, 0], torch.tensor([4 / 16, 3 / 17]))
    together = valuable_region(anchors, [3], boxes)
    assert_close(together, torch.tensor([4 / 16, 0.0, 0.0]))


def test_image_without_boxes_gives_zeros() -> None:
    weights = valuable_region(squares(0, 5), [2], torch.zeros(0, 4))
    assert torch.equal(weights, torch.zeros(2))
    assert valuable_region(torch.zeros(0, 4), [0, 0], squares(0)).shape == (0,)


def random_boxes(generator: torch.Generator, count: int, side: float) -> Tensor:
    centres = 60 * torch.rand(count, 2, generator=generator)
    sides = side * (0.5 + torch.rand(count, 2, generator=generator))
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1)


def anchors_of(generator: torch.Generator, levels: list[int]) -> Tensor:
    return torch.cat(
        [
            random_boxes(generator, number, side)
            for number, side in zip(levels, (12, 24, 48), strict=True)
        ]
    )


def naive(
    anchors: Tensor, levels: list[int], boxes: Tensor, topk: int, gamma: float
) -> Tensor:
    """Box by box, by torchvision's overlaps and numpy's distances and statistics."""
    overlaps = box_iou(anchors, boxes).numpy()
    centre = ((anchors[:, :2] + anchors[:, 2:]) / 2).numpy()
    weights = np.zeros(len(anchors), dtype=np.float32)
    for number, box in enumerate(boxes.numpy()):
        far = np.hypot(*(centre - (box[:2] + box[2:]) / 2).T)
        chosen: list[int] = []
        start = 0
        for count in levels:
            near = sorted(range(start, start + count), key=lambda at: far[at])
            chosen += near[:topk]
            start += count
        candidates = overlaps[chosen, number]
        threshold = candidates.mean() + candidates.std(ddof=1)
        hull = np.maximum(anchors.numpy(), box)[:, 2:]
        hull = hull - np.minimum(anchors.numpy(), box)[:, :2]
        penalised = overlaps[:, number] - far**2 / (hull**2).sum(axis=1)
        for at, value in enumerate(penalised):
            if gamma * threshold <= value < threshold:
                weights[at] = max(weights[at], overlaps[at, number])
    return torch.from_numpy(weights)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**16),
    count=st.integers(1, 4),
    topk=st.integers(2, 9),
    gamma=st.floats(0, 0.9),
)
def test_equals_a_loop_over_boxes(
    seed: int, count: int, topk: int, gamma: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = [30, 8, 3]
    anchors = anchors_of(generator, levels)
    boxes = random_boxes(generator, count, 25)
    weights = valuable_region(anchors, levels, boxes, topk=topk, gamma=gamma)
    assert_close(weights, naive(anchors, levels, boxes, topk, gamma))


def test_threshold_is_that_of_the_hosts_assigner() -> None:
    """Whatever is left to the region is further away than all of its positives."""
    generator = torch.Generator().manual_seed(0)
    levels = [64, 16, 4]
    anchors = anchors_of(generator, levels)
    box = random_boxes(generator, 1, 25)
    found = ATSSAssigner(topk=9).assign(
        InstanceData(priors=anchors),
        levels,
        InstanceData(bboxes=box, labels=torch.zeros(1, dtype=torch.long)),
    )
    positive = found.gt_inds > 0
    region = valuable_region(anchors, levels, box) > 0
    assert positive.any() and region.any()
    penalised = distance_box_iou(anchors, box)[:, 0]
    smallest = box_iou(anchors, box)[positive].min()
    assert (penalised[region] < smallest).all()
