"""Detections of two models: which match, and do they say the same."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_plugins.evaluation.fidelity import Boxes, BoxFidelity, box_iou, match_boxes
from kd_plugins.evaluation.fidelity.boxes import correct_boxes


def boxes(*entries: tuple[float, int, float]) -> Boxes:
    """Squares of 10, by (left edge, label, score)."""
    edges = [[left, 0.0, left + 10, 10] for left, _, _ in entries]
    return Boxes(
        torch.tensor(edges).reshape(-1, 4),
        torch.tensor([label for _, label, _ in entries], dtype=torch.long),
        torch.tensor([score for _, _, score in entries]),
    )


def drawn(number: int) -> Tensor:
    corners = torch.rand(number, 2) * 50
    return torch.cat([corners, corners + torch.rand(number, 2) * 30], dim=1)


def naive_iou(first: list[float], second: list[float]) -> float:
    """Of two boxes, side by side."""
    sides = [
        max(0.0, min(first[end], second[end]) - max(first[start], second[start]))
        for start, end in ((0, 2), (1, 3))
    ]
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return math.prod(sides) / (sum(areas) - math.prod(sides))


def test_overlaps_are_those_of_a_naive_loop() -> None:
    first, second = drawn(20), drawn(15)
    expected = [
        [naive_iou(row, column) for column in second.tolist()] for row in first.tolist()
    ]
    torch.testing.assert_close(box_iou(first, second), torch.tensor(expected))


def test_boxes_without_an_area_overlap_nothing() -> None:
    flat = torch.tensor([[0.0, 0, 0, 0], [2, 2, 1, 3], [5, 5, 4, 4]])  # or inverted
    assert not box_iou(flat, torch.cat([flat, drawn(4)])).any()
    assert box_iou(torch.zeros(0, 4), drawn(15)).shape == (0, 15)


def test_each_row_takes_the_best_free_column() -> None:
    ious = torch.tensor([[0.6, 0.9], [0.0, 0.8], [0.5, 0.95]])
    assert match_boxes(ious).tolist() == [1, -1, 0]
    assert match_boxes(ious, 0.55).tolist() == [1, -1, -1]


def test_matching_is_that_of_a_naive_loop() -> None:
    ious = torch.rand(12, 9)
    taken: set[int] = set()
    expected = []
    for row in ious.tolist():
        free = [(value, n) for n, value in enumerate(row) if n not in taken]
        value, column = max(free, default=(0.0, -1))
        expected.append(column if value >= 0.5 else -1)
        taken.add(expected[-1])
    assert match_boxes(ious).tolist() == expected


def test_nothing_to_match() -> None:
    assert match_boxes(torch.zeros(2, 0)).tolist() == [-1, -1]
    assert match_boxes(torch.zeros(0, 2)).tolist() == []


def test_two_images_by_hand() -> None:
    fidelity = BoxFidelity()
    # Overlaps of 9/11; of 1 with another label; far away; below the threshold.
    student = boxes((1, 0, 0.5), (40, 1, 0.8), (80, 1, 0.6), (120, 2, 0.2))
    teacher = boxes((0, 0, 0.9), (40, 2, 0.7))
    fidelity.add(student, teacher, boxes((0, 0, 1), (40, 1, 1)))
    fidelity.add(boxes(), boxes((0, 1, 0.8)), boxes())
    values = fidelity.values()
    assert values['agreement'] == pytest.approx(1 / 2)
    assert values['recall'] == pytest.approx(2 / 3)
    assert values['precision'] == pytest.approx(2 / 3)
    expected = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert values['kl'] == pytest.approx(expected, rel=1e-5)
    # The student's 0.5 and 0.8 are right, 0.6 is not; of the teacher's 0.9 alone.
    gaps = (0.5 + 0.2 + 0.6) / 3
    assert values['ece_student'] == pytest.approx(gaps, rel=1e-5)
    # 0.7 is wrong, and so is 0.8 of the other image.
    assert values['ece_teacher'] == pytest.approx((0.1 + 0.7 + 0.8) / 3, rel=1e-5)


def test_identical_detections_agree_without_divergence() -> None:
    fidelity = BoxFidelity()
    found = boxes((0, 0, 0.9), (40, 1, 0.5), (80, 2, 0.4))
    fidelity.add(found, found, None)
    values = fidelity.values()
    assert values['agreement'] == values['recall'] == values['precision'] == 1
    assert values['kl'] == 0
    assert math.isnan(values['ece_student'])  # nobody says what is right


def test_without_detections_nothing_has_a_value() -> None:
    fidelity = BoxFidelity()
    fidelity.add(boxes(), boxes(), boxes((0, 0, 1)))
    assert np.isnan(list(fidelity.values().values())).all()


def test_an_annotation_makes_one_detection_right() -> None:
    found = boxes((0, 0, 0.9), (1, 0, 0.8), (40, 1, 0.7), (0, 1, 0.6))
    truth = boxes((0, 0, 1), (40, 0, 1), (0, 1, 1))
    assert correct_boxes(found, truth).tolist() == [True, False, False, True]
    assert correct_boxes(found, boxes()).tolist() == [False] * 4
