"""Chen et al.'s bounded regression: the student's error, where it is the larger."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import TeacherBoundedLoss, teacher_bounded_regression

from ._cases import LossCase, bounded_deltas
from ._common import backward, gradient, row_pairs

CASES = [
    LossCase('teacher_bounded', TeacherBoundedLoss, bounded_deltas),
    LossCase(
        'teacher_bounded-margin',
        TeacherBoundedLoss,
        bounded_deltas,
        {'margin': 0.01},
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                'with a margin a student as good as the teacher is still pulled'
            ),
        },
    ),
]

TARGET = torch.tensor([[1.0, -2.0, 0.5, 0.0]])
WORSE = TARGET + torch.tensor([0.3, 0.0, 0.0, 0.0])
BETTER = TARGET + torch.tensor([0.1, 0.0, 0.0, 0.0])


def test_a_worse_student_is_pulled_to_the_target() -> None:
    student = WORSE.clone().requires_grad_()
    value = teacher_bounded_regression(student, BETTER, TARGET)
    assert value.item() == pytest.approx(0.09, rel=1e-5)
    expected = torch.tensor([[0.6, 0.0, 0.0, 0.0]])
    assert_close(gradient(value, student), expected)


def test_a_better_student_is_let_go() -> None:
    student = BETTER.clone().requires_grad_()
    value = teacher_bounded_regression(student, WORSE, TARGET)
    assert value.item() == 0
    assert not gradient(value, student).any()


def test_equal_errors_are_let_go_unless_there_is_a_margin() -> None:
    target = torch.zeros(1, 4)
    teacher = torch.tensor([[0.3, 0.0, 0.0, 0.0]])
    student = torch.tensor([[0.0, 0.0, 0.0, -0.3]])  # elsewhere, exactly as far
    assert teacher_bounded_regression(student, teacher, target).item() == 0
    value = teacher_bounded_regression(student, teacher, target, margin=0.01)
    assert value.item() == pytest.approx(0.09, rel=1e-5)


def test_the_comparison_is_strict() -> None:
    target = torch.zeros(1, 4)
    student, teacher = target + 0.5, target + 1.0  # errors 1 and 4, exactly
    assert teacher_bounded_regression(student, teacher, target, margin=3.0) == 0
    assert teacher_bounded_regression(student, teacher, target, margin=3.001) == 1


def test_boxes_are_compared_whole() -> None:
    target = torch.zeros(1, 4)
    student = torch.tensor([[0.5, 0.0, 0.0, 0.0]])  # worse in one component only
    teacher = torch.tensor([[0.0, 0.4, 0.4, 0.4]])
    assert teacher_bounded_regression(student, teacher, target) == 0


def test_divides_by_all_sampled_rows() -> None:
    student = WORSE.repeat(8, 1)
    mask = torch.tensor([1.0, 1, 0, 0, 0, 0, 0, 0])  # two positives of eight
    loss = TeacherBoundedLoss(loss_weight=0.5)
    arguments = {'target': TARGET.repeat(8, 1), 'mask': mask}
    value = loss(student, BETTER.repeat(8, 1), avg_factor=8, **arguments)
    assert value.item() == pytest.approx(0.5 * 2 * 0.09 / 8, rel=1e-5)
    of_positives = loss(student, BETTER.repeat(8, 1), **arguments)
    assert of_positives.item() == pytest.approx(0.5 * 0.09, rel=1e-5)


@given(
    pair=row_pairs(min_columns=1, bound=2),
    margin=st.floats(0, 2),
    shift=st.floats(-1, 1),
)
def test_equals_a_loop_over_boxes(
    pair: tuple[Tensor, Tensor], margin: float, shift: float
) -> None:
    student, teacher = pair
    target = shift - teacher  # anything of the same shape
    value = teacher_bounded_regression(
        student, teacher, target, margin=margin, reduction='none'
    )
    for row in range(len(student)):
        error, bound = 0.0, 0.0
        for column in range(student.shape[1]):
            error += float(student[row, column] - target[row, column]) ** 2
            bound += float(teacher[row, column] - target[row, column]) ** 2
        if abs(error + margin - bound) < 1e-9:
            continue  # rounding decides
        expected = error if error + margin > bound else 0.0
        assert value[row].item() == pytest.approx(expected)


@given(pair=row_pairs(bound=2), margin=st.floats(0, 2))
def test_a_larger_margin_never_lets_more_go(
    pair: tuple[Tensor, Tensor], margin: float
) -> None:
    student, teacher = pair
    target = torch.zeros_like(student)
    tight = teacher_bounded_regression(student, teacher, target, reduction='none')
    loose = teacher_bounded_regression(
        student, teacher, target, margin=margin, reduction='none'
    )
    assert (loose >= tight).all()
    whole = student.square().sum(1)
    assert (loose <= whole).all()


@given(pair=row_pairs(bound=2))
def test_the_teachers_boxes_give_no_direction(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    target = torch.zeros_like(student)
    value = teacher_bounded_regression(student, teacher, target)
    assert_close(teacher_bounded_regression(student, -teacher, target), value)


def test_swapping_student_and_teacher_changes_it() -> None:
    assert teacher_bounded_regression(WORSE, BETTER, TARGET) > 0
    assert teacher_bounded_regression(BETTER, WORSE, TARGET) == 0


def test_the_target_gets_no_gradient() -> None:
    target = TARGET.clone().requires_grad_()
    student = WORSE.clone().requires_grad_()
    backward(TeacherBoundedLoss()(student, BETTER, target=target))
    assert target.grad is None


def test_module_hands_its_margin_on() -> None:
    equal = TeacherBoundedLoss(margin=0.01)(WORSE, WORSE, target=TARGET)
    assert equal.item() == pytest.approx(0.09, rel=1e-5)


def test_missing_targets_are_refused_naming_the_views_that_have_them() -> None:
    with pytest.raises(
        ConfigError, match=r"'rpn\.deltas', 'head\.deltas' or 'roi\.deltas'"
    ):
        TeacherBoundedLoss()(WORSE, BETTER)


def test_targets_of_another_shape_are_refused() -> None:
    with pytest.raises(ShapeError, match=r'student \(1, 4\) and target \(2, 4\)'):
        TeacherBoundedLoss()(WORSE, BETTER, target=TARGET.repeat(2, 1))


@pytest.mark.parametrize('margin', [-0.1, math.nan, math.inf])
def test_impossible_margins_are_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match='margin must be a finite number >= 0'):
        TeacherBoundedLoss(margin=margin)
    with pytest.raises(ConfigError, match='margin must be a finite number >= 0'):
        teacher_bounded_regression(WORSE, BETTER, TARGET, margin=margin)
