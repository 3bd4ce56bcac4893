"""Boxes of several sources, as one set."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.engine.pseudo_labels import suppressed, weighted_box_fusion
from kd_plugins.errors import ShapeError


def test_three_boxes_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 14], [0, 0, 10, 10]])
    scores, labels = torch.tensor([0.75, 0.25, 0.6]), torch.tensor([1, 1, 2])
    fused = weighted_box_fusion(boxes, scores, labels, sources=3)
    # Overlap 10/14; sides 0.75 * 10 + 0.25 * 14 = 11; two, and one, of three saw it.
    expected = torch.tensor([[0.0, 0, 10, 11], [0, 0, 10, 10]])
    assert_close(fused[0], expected)
    assert_close(fused[1], torch.tensor([0.5 * 2 / 3, 0.6 / 3]))
    assert fused[2].tolist() == [1, 2]


def test_a_box_joins_the_mean_and_not_its_members() -> None:
    # By pairs: 6/10, 6/10 and 2/10. The third overlaps the mean of the first two by
    # 4/10 alone, whatever it shares with one of them.
    boxes = torch.tensor([[0.0, 0, 10, 1], [2.5, 0, 12.5, 1], [5.0, 0, 15, 1]])
    scores, labels = torch.tensor([0.5, 0.5, 0.4]), torch.zeros(3).long()
    fused, _, _ = weighted_box_fusion(
        boxes, scores, labels, sources=1, iou_threshold=0.59
    )
    # 1.25 to 11.25 and 5 to 15: 6.25 / 13.75, below the threshold.
    assert_close(fused, torch.tensor([[1.25, 0, 11.25, 1], [5, 0, 15, 1]]))


def naive(
    boxes: Tensor, scores: Tensor, labels: Tensor, sources: int, threshold: float
) -> list[tuple[list[float], float, int]]:
    """Cluster by cluster, in numpy."""
    clusters: list[list[int]] = []

    def mean(members: list[int]) -> np.ndarray:
        weights = np.array([float(scores[each]) for each in members])
        return weights @ boxes[members].double().numpy() / weights.sum()

    for number in sorted(range(len(boxes)), key=lambda each: -float(scores[each])):
        best, place = threshold, None
        for at, members in enumerate(clusters):
            one, two = boxes[number].double().numpy(), mean(members)
            sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
            shared = np.prod(sides.clip(min=0))
            areas = sum(np.prod(each[2:] - each[:2]) for each in (one, two))
            same = labels[members[0]] == labels[number]
            if same and shared / (areas - shared) > best:
                best, place = shared / (areas - shared), at
        if place is None:
            clusters.append([number])
        else:
            clusters[place].append(number)
    found = [
        (
            mean(members).tolist(),
            float(scores[members].mean()) * min(len(members), sources) / sources,
            int(labels[members[0]]),
        )
        for members in clusters
    ]
    return sorted(found, key=lambda each: -each[1])


@given(seed=st.integers(0, 10**6), sources=st.integers(1, 4))
def test_equals_a_naive_loop(seed: int, sources: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(12, 2, generator=draw) * 6
    sides = torch.rand(12, 2, generator=draw) * 8 + 4
    boxes = torch.cat([corners, corners + sides], dim=1)
    scores = torch.rand(12, generator=draw) + 0.05
    labels = torch.randint(2, (12,), generator=draw)
    fused = weighted_box_fusion(boxes, scores, labels, sources=sources)
    expected = naive(boxes, scores, labels, sources, 0.55)
    assert_close(fused[0], torch.tensor([each[0] for each in expected]))
    assert_close(fused[1], torch.tensor([each[1] for each in expected]))
    assert fused[2].tolist() == [each[2] for each in expected]


@pytest.mark.parametrize('sources', [2, 3])
def test_sources_that_agree_change_nothing(sources: int) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 40]])
    scores, labels = torch.tensor([0.9, 0.3]), torch.tensor([0, 1])
    many = [item.repeat(sources, *[1] * (item.dim() - 1)) for item in (boxes, scores)]
    fused = weighted_box_fusion(*many, labels.repeat(sources), sources=sources)
    for got, expected in zip(fused, (boxes, scores, labels), strict=True):
        assert_close(got, expected)


def test_suppressed_keeps_the_surest_of_each_class() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 14], [0, 0, 10, 10]])
    scores, labels = torch.tensor([0.25, 0.75, 0.6]), torch.tensor([1, 1, 2])
    kept = suppressed(boxes, scores, labels)
    assert kept[0].tolist() == boxes[[1, 2]].tolist()
    assert kept[2].tolist() == [1, 2]


def test_nothing_gives_nothing() -> None:
    empty = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()
    for fused in (weighted_box_fusion(*empty, sources=2), suppressed(*empty)):
        assert [len(each) for each in fused] == [0, 0, 0]


def test_shapes_that_do_not_belong_together() -> None:
    with pytest.raises(ShapeError, match=r'scores and labels \(B,\), got \(2, 4\)'):
        suppressed(torch.zeros(2, 4), torch.zeros(3), torch.zeros(2))
