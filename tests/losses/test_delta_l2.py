"""Plain L2 on deltas: squared distance, summed over a box."""

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.losses import DeltaL2Loss, delta_l2, teacher_bounded_regression

from ._cases import LossCase, features
from ._common import gradient, row_pairs

CASES = [
    LossCase('delta_l2', DeltaL2Loss, features(4)),
]


def test_two_boxes_by_hand() -> None:
    student = torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5]])
    teacher = torch.tensor([[0.0, 2.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert delta_l2(student, teacher, reduction='none').tolist() == [5.0, 0.25]
    assert delta_l2(student, teacher).item() == pytest.approx(5.25 / 2)
    value = DeltaL2Loss(loss_weight=2.0)(
        student, teacher, mask=torch.tensor([0.0, 1.0]), avg_factor=10
    )
    assert value.item() == pytest.approx(2 * 0.25 / 10)


@given(pair=row_pairs(min_columns=1))
def test_equals_numpy(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = (t.numpy() for t in pair)
    expected = np.linalg.norm(student - teacher, axis=1) ** 2
    value = delta_l2(*pair, reduction='none')
    assert_close(value, torch.from_numpy(expected))


@given(pair=row_pairs(min_columns=1))
def test_gradient_is_twice_the_difference(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    student.requires_grad_()
    expected = 2 * (student - teacher).detach() / len(student)
    assert_close(gradient(delta_l2(student, teacher), student), expected)


@given(pair=row_pairs(bound=2))
def test_a_perfect_teacher_makes_the_bounded_loss_this_one(
    pair: tuple[Tensor, Tensor],
) -> None:
    student, target = pair
    bounded = teacher_bounded_regression(student, target, target)
    assert_close(bounded, delta_l2(student, target))
