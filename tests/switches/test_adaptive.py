import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.switches import AdaptiveSwitch, adaptive_threshold, distances

SURE = -60.0  # of a class that is out of the question


def logits(*probs: float) -> Tensor:
    """One row of logits of these probabilities."""
    row = [math.log(prob) if prob else SURE for prob in probs]
    return torch.tensor([row])


LABEL = torch.tensor([0])
# Student, teacher; G, a, b, eps, delta; whether the teacher learns.
EXPERT = ((0.5, 0.5, 0.0), (0.6, 0.0, 0.4)), (1.0, 1.0, 0.8, 0.641180, 0.487056), False
LEARNING = ((0.5, 0.5), (0.8, 0.2)), (0.6, 1.0, 0.4, 0.751477, 0.699409), True


@pytest.mark.parametrize(('probs', 'numbers', 'learns'), [EXPERT, LEARNING])
def test_the_two_modes_by_hand(
    probs: tuple[tuple[float, ...], ...], numbers: tuple[float, ...], learns: bool
) -> None:
    student, teacher = (logits(*each) for each in probs)
    *means, epsilon, threshold = numbers
    sums = distances(student, teacher, LABEL)
    assert_close(sums, torch.tensor([*means, 1.0]))
    _, a, b = means
    assert math.exp(-b / (a + b)) == pytest.approx(epsilon, abs=1e-6)
    found = adaptive_threshold(torch.tensor(a), torch.tensor(b))
    assert found.item() == pytest.approx(threshold, abs=1e-6)
    assert AdaptiveSwitch().learns(sums).item() is learns
    # Of a teacher that is worse it never waits.
    assert AdaptiveSwitch().learns(distances(teacher, student, LABEL))


def test_a_threshold_lies_below_the_difference_of_the_errors_by_a_share() -> None:
    """If b < a, eps lies in (0.6065, 1)."""
    a = torch.rand(100) + 0.01
    b = a * torch.rand(100)
    epsilon = (a - adaptive_threshold(a, b)) / b
    assert (epsilon > 0.6065).all() and (epsilon < 1).all()


def test_sums_are_those_of_the_rows_one_by_one() -> None:
    student, teacher = torch.randn(2, 6, 4)
    labels = torch.tensor([0, 1, 3, 2, 9, 3])  # 3 is the background, 9 no class
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    expected = torch.zeros(4)
    for row in (0, 3):  # what is left
        p, q = student[row].softmax(0), teacher[row].softmax(0)
        y = torch.eye(4)[labels[row]]
        expected += torch.stack(
            [
                (p - q).abs().sum(),
                (p - y).abs().sum(),
                (q - y).abs().sum(),
                torch.tensor(1.0),
            ]
        )
    found = distances(student, teacher, labels, mask=mask, background=3)
    assert_close(found, expected)
    order = torch.randperm(6)
    assert_close(
        distances(
            student[order],
            teacher[order],
            labels[order],
            mask=mask[order],
            background=3,
        ),
        expected,
    )


def test_maps_are_their_pixels() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 5)
    labels = torch.randint(0, 3, (2, 4, 5))
    labels[0, 0] = 255
    rows = [item.permute(0, 2, 3, 1).reshape(-1, 3) for item in (student, teacher)]
    assert_close(
        distances(student, teacher, labels), distances(*rows, labels.flatten())
    )


def test_nothing_to_judge_by_is_no_reason_to_wait() -> None:
    switch = AdaptiveSwitch()
    empty = switch.statistics(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0))
    assert empty.tolist() == [0, 0, 0, 0] and switch.learns(empty)
    perfect = logits(1.0, 0.0, 0.0)
    assert switch.learns(switch.statistics(perfect, perfect, LABEL))


def test_it_takes_no_gradient_and_half_precision_and_large_logits() -> None:
    student = (1e4 * torch.randn(5, 3)).bfloat16().requires_grad_()
    sums = distances(student, torch.randn(5, 3).bfloat16(), torch.zeros(5).long())
    assert sums.grad_fn is None and sums.dtype == torch.float32
    assert sums.isfinite().all()


def test_an_infinity_in_a_dropped_row_is_not_noticed() -> None:
    student = torch.randn(2, 3)
    student[1] = math.inf
    mask = torch.tensor([1.0, 0.0])
    sums = distances(student, torch.randn(2, 3), torch.zeros(2).long(), mask=mask)
    assert sums.isfinite().all() and sums[3] == 1


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match='differ in'):
        distances(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2))
