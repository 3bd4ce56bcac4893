"""Activation boundaries: the student's neurons on the teacher's side of zero."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import ABLoss, activation_boundary

from ._cases import LossCase, features
from ._common import gradient

CASES = [
    LossCase(
        'ab',
        ABLoss,
        features(3, 2, 4),
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                'what lies within the margin is pushed out of it'
            ),
        },
    ),
]


@pytest.mark.parametrize(
    ('student', 'teacher', 'expected'),
    [
        (0.0, 1.0, 1.0),
        (0.5, -1.0, 2.25),
        (2.0, 1.0, 0.0),
        (-1.0, -1.0, 0.0),
        (-0.5, 0.0, 0.25),  # a teacher at zero does not fire
        (0.5, 0.5, 0.25),  # equal, and yet within the margin
    ],
)
def test_one_neuron_by_hand(student: float, teacher: float, expected: float) -> None:
    tensors = torch.tensor([[student]]), torch.tensor([[teacher]])
    assert activation_boundary(*tensors).item() == expected


def test_neurons_add_up_and_samples_are_averaged() -> None:
    student = torch.tensor([[0.0, 0.5], [2.0, 0.0]]).view(2, 1, 1, 2)
    teacher = torch.tensor([[1.0, -1.0], [1.0, 3.0]]).view(2, 1, 1, 2)
    each = activation_boundary(student, teacher, reduction='none')
    assert each.tolist() == [3.25, 1.0]
    assert activation_boundary(student, teacher).item() == 2.125


@pytest.mark.parametrize('shape', [(3, 4, 5, 2), (6, 7)])
@pytest.mark.parametrize('margin', [1.0, 0.3])
def test_equals_the_papers_other_form(shape: tuple[int, ...], margin: float) -> None:
    """Squares where an indicator says so, by numpy."""
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    s, t = student.numpy(), teacher.numpy()
    above = (s + margin) ** 2 * ((s > -margin) & (t <= 0))
    below = (s - margin) ** 2 * ((s <= margin) & (t > 0))
    expected = np.sum(above + below, axis=tuple(range(1, s.ndim)))
    value = activation_boundary(student, teacher, margin=margin, reduction='none')
    assert_close(value, torch.from_numpy(expected))


def test_gradient_by_hand() -> None:
    student = torch.tensor([[0.0, 0.5, 2.0, -1.5, -3.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, -1.0, 1.0, -1.0, 1.0]])
    value = activation_boundary(student, teacher)
    assert gradient(value, student)[0].tolist() == [-2, 3, 0, 0, -8]


def test_only_the_teachers_signs_count() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    value = activation_boundary(student, teacher)
    larger = teacher * (100 * torch.rand(2, 3, 4, 4) + 0.1)
    assert torch.equal(activation_boundary(student, larger), value)
    # The other way round they do not: it is the student that is pushed.
    assert abs(activation_boundary(teacher, student) - value) > 1e-3


def test_zero_where_all_lie_beyond_the_margin_on_the_right_side() -> None:
    teacher = torch.randn(2, 3, 4, 4)
    student = (teacher.sign() * (1 + torch.rand(2, 3, 4, 4))).requires_grad_()
    value = activation_boundary(student, teacher)
    assert value.item() == 0
    assert not gradient(value, student).any()


def test_scales_with_margin_and_student() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    value = activation_boundary(student, teacher)
    assert_close(activation_boundary(3 * student, teacher, margin=3.0), 9 * value)


def test_grows_with_the_map_as_in_the_paper() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    tiled = activation_boundary(student.repeat(1, 1, 2, 3), teacher.repeat(1, 1, 2, 3))
    assert_close(tiled, 6 * activation_boundary(student, teacher))


def test_finite_for_features_of_a_hundred_deviations() -> None:
    student, teacher = 100 * torch.randn(2, 2, 8, 16, 16)
    student.requires_grad_()
    value = activation_boundary(student, teacher)
    assert value.isfinite() and gradient(value, student).isfinite().all()


def test_module_hands_its_margin_on() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    value = ABLoss(loss_weight=3e-3, margin=0.5)(student, teacher)
    assert_close(value, 3e-3 * activation_boundary(student, teacher, margin=0.5))


@pytest.mark.parametrize('margin', [0, -1.0, float('nan'), '1'])
def test_impossible_margins_are_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match='margin must be a finite number > 0, got '):
        ABLoss(margin=margin)
    with pytest.raises(ConfigError, match='margin must be a finite number > 0'):
        activation_boundary(torch.zeros(1, 2), torch.zeros(1, 2), margin=margin)
