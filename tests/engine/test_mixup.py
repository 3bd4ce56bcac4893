"""Which images are mixed, how, and what becomes of their boxes."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from kd_plugins.engine.mixup import Mix, draw_mixes, joined_boxes, mixed_image


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 1.0])
def test_the_share_holds_on_average(share: float) -> None:
    draw, number = np.random.default_rng(0), 8
    batches = [draw_mixes(draw, number, 1.0, share) for _ in range(2000)]
    mixed = [sum(mix.weight < 1 for mix in batch) for batch in batches]
    assert np.mean(mixed) / number == pytest.approx(share, abs=0.01)
    assert max(mixed) - min(mixed) <= 1
    assert all(
        mix.partner != at
        for batch in batches
        for at, mix in enumerate(batch)
        if mix.weight < 1
    )


def test_an_image_alone_is_not_mixed() -> None:
    assert draw_mixes(np.random.default_rng(0), 1, 1.0, 1.0) == [Mix(0, 1.0)]


def test_lambda_is_that_of_the_beta_distribution() -> None:
    draw = np.random.default_rng(0)
    drawn = [
        mix.weight
        for _ in range(4000)
        for mix in draw_mixes(draw, 4, 2.0, 1.0)
        if mix.weight < 1
    ]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.01)
    assert np.var(drawn) == pytest.approx(1 / 20, abs=0.002)  # of B(2, 2)


def test_the_same_numbers_give_the_same_mixes() -> None:
    one, two = (draw_mixes(np.random.default_rng([0, 7, 1]), 8, 1, 1) for _ in '12')
    assert one == two != draw_mixes(np.random.default_rng([0, 8, 1]), 8, 1, 1)


def test_a_small_second_image_leaves_the_rest_of_the_first() -> None:
    first = torch.full((3, 2, 3), 100, dtype=torch.uint8)
    second = torch.full((3, 4, 1), 40, dtype=torch.uint8)
    mixed = mixed_image(first, second, 0.75)
    expected = torch.tensor([85.0, 100, 100]).expand(3, 2, 3)
    assert torch.equal(mixed, expected)
    assert mixed_image(first, second, 1.0) is first
    assert first.unique().tolist() == [100]


@pytest.mark.parametrize('wrapped', [False, True], ids=['tensor', 'boxes'])
def test_boxes_of_both_by_hand(wrapped: bool) -> None:
    def boxes(*corners: list[float]) -> InstanceData:
        found = torch.tensor(corners, dtype=torch.float32)
        labels = torch.arange(len(corners))
        return InstanceData(
            bboxes=HorizontalBoxes(found) if wrapped else found, labels=labels
        )

    instances = [
        boxes([0, 0, 5, 5]),
        boxes([1, 1, 30, 9], [25, 0, 30, 9]),  # the second ends beyond the first image
    ]
    instances[1].weights = torch.tensor([0.5, 1.0])
    sizes = [(10, 20), (10, 40)]
    own = joined_boxes(Mix(1, 0.75), 0, sizes, instances, weigh=True)
    corners = own.bboxes.tensor if wrapped else own.bboxes
    assert corners.tolist() == [[0, 0, 5, 5], [1, 1, 20, 9]]
    assert own.labels.tolist() == [0, 0]
    assert own.weights.tolist() == [0.75, 0.125]
    full = joined_boxes(Mix(1, 0.75), 0, sizes, instances, weigh=False)
    assert full.weights.tolist() == [1.0, 0.5]
    # What is not mixed stays, and so do the annotations themselves.
    alone = joined_boxes(Mix(1, 1.0), 1, sizes, instances, weigh=True)
    assert alone.weights.tolist() == [0.5, 1.0] and len(alone) == 2
    assert 'weights' not in instances[0]
    before = instances[1].bboxes.tensor if wrapped else instances[1].bboxes
    assert before[0].tolist() == [1, 1, 30, 9]
