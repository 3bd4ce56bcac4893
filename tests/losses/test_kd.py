"""Hinton's loss: the divergence from teacher to student, softened."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, rel_entr, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import KDLoss, LossContext, softened_divergence

from ._cases import LossCase, features, logits
from ._common import STUDENT, TEACHER, gradient, row_pairs, temperatures

CASES = [
    LossCase('kd', KDLoss, logits(4), {'temperature': 2.0}),
    LossCase('kd-one_column', KDLoss, logits(1)),
    LossCase(
        'kd-sigmoid', KDLoss, logits(3), {'temperature': 4.0, 'use_sigmoid': True}
    ),
    LossCase(
        'kd-standardized', KDLoss, logits(4), {'temperature': 2.0, 'standardize': True}
    ),
    LossCase('kd-maps', KDLoss, features(3, 1, 1), mask_sides=(1, 1)),
    LossCase(
        'kd-student_temperature',
        KDLoss,
        logits(4),
        {'temperature': 3.0, 'student_temperature': 1.0},
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                'the teacher alone is softened: equal logits then differ'
            ),
        },
    ),
]


def test_two_classes_by_hand() -> None:
    teacher = 2 * torch.tensor([[3.0, 1.0]]).log()  # softened by 2: 3/4, 1/4
    student = torch.zeros(1, 2)  # 1/2, 1/2
    expected = 2**2 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))  # 0.5232 nats
    value = softened_divergence(student, teacher, temperature=2.0)
    assert value.item() == pytest.approx(expected, rel=1e-6)


# Worked out in float64 from the formula, for the running example.
@pytest.mark.parametrize(
    ('temperature', 'expected'), [(1, 0.053808), (2, 0.083781), (4, 0.098609)]
)
def test_running_example(temperature: float, expected: float) -> None:
    value = softened_divergence(STUDENT, TEACHER, temperature=temperature)
    assert value.item() == pytest.approx(expected, abs=5e-7)


def test_one_yes_or_no_question_by_hand() -> None:
    student, teacher = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))
    expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    value = softened_divergence(student, teacher, use_sigmoid=True)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert value.item() == pytest.approx(0.067131, abs=1e-6)


def test_high_temperature_becomes_centred_logit_regression() -> None:
    value = softened_divergence(STUDENT, TEACHER, temperature=1000.0)
    assert value.item() == pytest.approx(1 / 9, rel=1e-3)


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Of the student at temperature 1, under the softened teacher; row by row."""
    probs = (teacher / temperature).softmax(1)
    return -(probs * student.log_softmax(1)).sum(1)


def test_generalized_distillation_softens_the_teacher_alone() -> None:
    """Teacher at T = 2, student at 1: a soft cross-entropy of 1.044964, but for H."""
    value = KDLoss(temperature=2.0, student_temperature=1.0)(STUDENT, TEACHER)
    probs = (TEACHER / 2).softmax(1)
    entropy = -(probs * probs.log()).sum()
    assert (value + entropy).item() == pytest.approx(1.044964, abs=1e-6)
    expected = soft_cross_entropy(STUDENT, TEACHER, 2.0).item()
    assert expected == pytest.approx(1.044964, abs=1e-6)


@given(pair=row_pairs(), temperature=temperatures)
def test_its_gradient_is_that_of_the_soft_cross_entropy(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    student.requires_grad_()
    value = softened_divergence(
        student, teacher, temperature=temperature, student_temperature=1.0
    )
    expected = soft_cross_entropy(student, teacher, temperature).mean()
    assert_close(gradient(value, student), gradient(expected, student))


def test_generalized_distillation_between_its_two_ends() -> None:
    """Lambda 0 is the hard loss, 1 at T = 1 the soft one; no label, no hard term."""
    logits = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 1.0]]).double()
    teacher = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]]).double()
    labels = torch.tensor([0, -100])  # the second has none

    def objective(share: float, temperature: float) -> Tensor:
        hard = torch.nn.functional.cross_entropy(logits, labels, reduction='none')
        soft = softened_divergence(
            logits,
            teacher,
            temperature=temperature,
            student_temperature=1.0,
            reduction='none',
        )
        return (1 - share) * hard + share * soft

    hard = torch.nn.functional.cross_entropy(logits[:1], labels[:1])
    assert_close(objective(0.0, 2.0), torch.stack([hard, hard * 0]))
    plain = softened_divergence(logits, teacher, reduction='none')
    assert_close(objective(1.0, 1.0), plain)
    assert_close(objective(0.25, 1.0)[1], 0.25 * plain[1])


def test_a_students_temperature_is_checked() -> None:
    message = 'student_temperature must be a finite number > 0, got 0'
    with pytest.raises(ConfigError, match=message):
        KDLoss(student_temperature=0)
    with pytest.raises(ConfigError, match=message):
        softened_divergence(STUDENT, TEACHER, student_temperature=0)


@given(pair=row_pairs(), temperature=temperatures)
def test_equals_scipy(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = (softmax(t.numpy() / temperature, axis=1) for t in pair)
    expected = temperature**2 * rel_entr(teacher, student).sum(1)
    value = softened_divergence(*pair, temperature=temperature, reduction='none')
    assert_close(value, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


@given(pair=row_pairs(min_columns=1), temperature=temperatures)
def test_sigmoid_equals_scipy(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = (t.numpy() / temperature for t in pair)
    yes = rel_entr(expit(teacher), expit(student))
    no = rel_entr(expit(-teacher), expit(-student))
    value = softened_divergence(
        *pair, temperature=temperature, use_sigmoid=True, reduction='none'
    )
    expected = torch.from_numpy(temperature**2 * (yes + no).sum(1))
    assert_close(value, expected, rtol=1e-9, atol=1e-9)


@given(pair=row_pairs(), shift=st.floats(-5, 5), teacher_shift=st.floats(-5, 5))
def test_ignores_a_constant_added_to_a_row(
    pair: tuple[Tensor, Tensor], shift: float, teacher_shift: float
) -> None:
    student, teacher = pair
    shifted = softened_divergence(student + shift, teacher + teacher_shift)
    assert_close(shifted, softened_divergence(student, teacher))
    same = softened_divergence(teacher + shift, teacher)
    assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-12)


@given(pair=row_pairs(), temperature=temperatures)
def test_gradient_is_the_difference_of_probs(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    student.requires_grad_()
    value = softened_divergence(student, teacher, temperature=temperature)
    softened = [(t / temperature).softmax(1) for t in pair]
    expected = temperature / len(student) * (softened[0] - softened[1])
    assert_close(gradient(value, student), expected.detach())


@given(pair=row_pairs(min_columns=1), temperature=temperatures)
def test_sigmoid_gradient_is_the_difference_of_probs(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    student.requires_grad_()
    value = softened_divergence(
        student, teacher, temperature=temperature, use_sigmoid=True, reduction='sum'
    )
    softened = [(t / temperature).sigmoid() for t in pair]
    expected = temperature * (softened[0] - softened[1])
    assert_close(gradient(value, student), expected.detach())


def test_swapping_student_and_teacher_changes_it() -> None:
    forward = softened_divergence(STUDENT, TEACHER)
    assert abs(forward - softened_divergence(TEACHER, STUDENT)) > 1e-3


def test_two_softmax_columns_equal_one_sigmoid_column() -> None:
    student, teacher = torch.randn(2, 6, 1)
    zeros = torch.zeros(6, 1)
    pairs = softened_divergence(
        torch.cat([student, zeros], 1), torch.cat([teacher, zeros], 1)
    )
    assert_close(softened_divergence(student, teacher, use_sigmoid=True), pairs)


@pytest.mark.parametrize(
    ('use_sigmoid', 'context', 'columns', 'expected'),
    [
        (None, None, 3, False),
        (None, None, 1, True),
        (None, LossContext(), 1, True),
        (None, LossContext(activation='sigmoid'), 3, True),
        (None, LossContext(activation='softmax'), 3, False),
        (False, LossContext(activation='sigmoid'), 3, False),
        (True, LossContext(activation='softmax'), 3, True),
    ],
)
def test_who_says_what_the_columns_are(
    use_sigmoid: bool | None,
    context: LossContext | None,
    columns: int,
    expected: bool,
) -> None:
    student, teacher = torch.randn(2, 5, columns)
    value = KDLoss(use_sigmoid=use_sigmoid)(student, teacher, context=context)
    assert_close(value, softened_divergence(student, teacher, use_sigmoid=expected))


def test_module_hands_its_temperature_on() -> None:
    value = KDLoss(loss_weight=2.0, temperature=4.0)(STUDENT, TEACHER)
    assert value.item() == pytest.approx(2 * 0.098609, abs=1e-6)


@pytest.mark.parametrize('temperature', [0, -1, math.nan, math.inf])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    message = 'temperature must be a finite number > 0'
    with pytest.raises(ConfigError, match=message):
        KDLoss(temperature=temperature)
    with pytest.raises(ConfigError, match=message):
        softened_divergence(STUDENT, TEACHER, temperature=temperature)


def test_softmax_over_one_column_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        KDLoss(use_sigmoid=False)(torch.zeros(3, 1), torch.zeros(3, 1))
