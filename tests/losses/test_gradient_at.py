"""Gradient-based attention transfer: the distance of two gradients by an image."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kd_plugins.losses import GradientATLoss, gradient_attention_transfer

from ._cases import LossCase, features
from ._common import gradient

CASES = [
    LossCase('gradient_at', GradientATLoss, features(3, 2, 4)),
]


def test_two_images_by_hand() -> None:
    student = torch.tensor([[[[3.0, 4.0]]], [[[1.0, 1.0]]]])
    teacher = torch.tensor([[[[0.0, 0.0]]], [[[1.0, 1.0]]]])
    each = gradient_attention_transfer(student, teacher, reduction='none')
    assert each.tolist() == [5.0, 0.0]
    assert gradient_attention_transfer(student, teacher).item() == 2.5


def test_equals_numpy() -> None:
    student, teacher = torch.randn(2, 4, 3, 5, 6, dtype=torch.float64)
    each = gradient_attention_transfer(student, teacher, reduction='none')
    difference = (student - teacher).numpy().reshape(4, -1)
    assert_close(each.numpy(), np.linalg.norm(difference, axis=1))


def test_pulls_along_the_unit_vector_of_the_difference() -> None:
    student = torch.randn(1, 3, 2, 2, requires_grad=True)
    teacher = torch.randn(1, 3, 2, 2)
    derivative = gradient(gradient_attention_transfer(student, teacher), student)
    difference = (student - teacher).detach()
    assert_close(derivative, difference / difference.norm())


def test_is_not_squared_and_knows_the_length() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    value = gradient_attention_transfer(student, teacher)
    for factor in (1e-3, 10.0):
        scaled = gradient_attention_transfer(factor * student, factor * teacher)
        assert scaled.item() == pytest.approx(factor * value.item(), rel=1e-5)
    assert gradient_attention_transfer(2 * teacher, teacher) > 0


def test_a_gradient_through_a_gradient() -> None:
    """As a pair uses it: of w in y = w x^2 / 2, whose J is w x."""
    weight = torch.tensor(3.0, requires_grad=True)
    image = torch.full((1, 1, 1, 1), 2.0, requires_grad=True)
    task = (weight * image**2 / 2).sum()
    (student,) = torch.autograd.grad(task, image, create_graph=True)
    value = GradientATLoss(loss_weight=0.5)(student, torch.ones_like(student))
    assert value.item() == 0.5 * (3 * 2 - 1)
    assert gradient(value, weight).item() == 0.5 * 2
