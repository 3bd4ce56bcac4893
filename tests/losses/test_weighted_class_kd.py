"""Chen et al.'s soft classification loss: cross-entropy with class weights."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_expit, log_softmax, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import (
    LossContext,
    WeightedClassKDLoss,
    softened_divergence,
    weighted_class_kd,
)

from ._cases import ENTROPY, LossCase, features, logits
from ._common import STUDENT, TEACHER, gradient, row_pairs, temperatures

CASES = [
    LossCase('weighted_class_kd', WeightedClassKDLoss, logits(4), opt_outs=ENTROPY),
    LossCase(
        'weighted_class_kd-background_first',
        WeightedClassKDLoss,
        logits(4),
        {'temperature': 3.0},
        LossContext(activation='softmax', background=0),
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-class_weights',
        WeightedClassKDLoss,
        logits(3),
        {'class_weights': [1.0, 0.5, 2.0]},
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-one_column',
        WeightedClassKDLoss,
        logits(1),
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-sigmoid',
        WeightedClassKDLoss,
        logits(3),
        {'class_weights': [1.0, 0.5, 2.0, 1.5], 'temperature': 2.0},
        LossContext(activation='sigmoid'),
        opt_outs=ENTROPY,
    ),
    LossCase(
        'weighted_class_kd-maps',
        WeightedClassKDLoss,
        features(3, 1, 1),
        opt_outs=ENTROPY,
        mask_sides=(1, 1),
    ),
]

# Background first, as in the paper.
PROBS_TEACHER = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
PROBS_STUDENT = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64)
weights = st.lists(st.floats(0, 3), min_size=5, max_size=5)


def test_three_classes_by_hand() -> None:
    student, teacher = PROBS_STUDENT.log(), PROBS_TEACHER.log()
    expected = -(
        1.5 * 0.5 * math.log(0.25) + 0.3 * math.log(0.5) + 0.2 * math.log(0.25)
    )
    value = weighted_class_kd(student, teacher, background=0)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert value.item() == pytest.approx(1.524924, abs=5e-7)
    plain = weighted_class_kd(student, teacher, background_weight=1.0)
    assert plain.item() == pytest.approx(1.178350, abs=5e-7)


def test_the_background_is_last_unless_the_view_says_so() -> None:
    student, teacher = PROBS_STUDENT.log(), PROBS_TEACHER.log()
    loss = WeightedClassKDLoss()
    expected = -(
        0.5 * math.log(0.25) + 0.3 * math.log(0.5) + 1.5 * 0.2 * math.log(0.25)
    )
    assert loss(student, teacher).item() == pytest.approx(expected)
    last = loss(student.roll(-1, 1), teacher.roll(-1, 1))
    first = loss(student, teacher, context=LossContext(background=0))
    assert last.item() == pytest.approx(1.524924, abs=5e-7)
    assert first.item() == pytest.approx(1.524924, abs=5e-7)


def test_one_yes_or_no_question_by_hand() -> None:
    student, teacher = torch.tensor([[1.0]]), torch.tensor([[2.0]])
    p = 1 / (1 + math.exp(-2))
    yes, no = math.log1p(math.exp(-1)), math.log1p(math.exp(1))  # -log s, -log(1-s)
    plain = weighted_class_kd(student, teacher, background_weight=1.0, use_sigmoid=True)
    assert plain.item() == pytest.approx(p * yes + (1 - p) * no, rel=1e-6)
    assert plain.item() == pytest.approx(0.432465, abs=1e-6)
    weighted = weighted_class_kd(student, teacher, use_sigmoid=True)
    assert weighted.item() == pytest.approx(p * yes + 1.5 * (1 - p) * no, rel=1e-6)


def test_exceeds_the_divergence_by_the_teachers_entropy() -> None:
    value = weighted_class_kd(STUDENT, TEACHER, background_weight=1.0)
    entropy = value - softened_divergence(STUDENT, TEACHER)
    assert entropy.item() == pytest.approx(0.832396, abs=5e-7)


@given(pair=row_pairs(), weights=weights, temperature=temperatures, data=st.data())
def test_equals_a_loop_over_classes(
    pair: tuple[Tensor, Tensor],
    weights: list[float],
    temperature: float,
    data: st.DataObject,
) -> None:
    student, teacher = (t.numpy() / temperature for t in pair)
    columns = student.shape[1]
    background = data.draw(st.integers(-columns, columns - 1))
    objects = iter(weights)
    expected = torch.zeros(len(student), dtype=torch.float64)
    for column in range(columns):
        is_background = column == background % columns
        weight = weights[columns - 1] if is_background else next(objects)
        expected -= torch.from_numpy(
            temperature**2
            * weight
            * softmax(teacher, axis=1)[:, column]
            * log_softmax(student, axis=1)[:, column]
        )
    value = weighted_class_kd(
        *pair,
        class_weights=torch.tensor(weights[:columns], dtype=torch.float64),
        background=background,
        temperature=temperature,
        reduction='none',
    )
    assert_close(value, expected, rtol=1e-9, atol=1e-9)


@given(pair=row_pairs(min_columns=1), weights=weights, temperature=temperatures)
def test_sigmoid_equals_a_loop_over_classes(
    pair: tuple[Tensor, Tensor], weights: list[float], temperature: float
) -> None:
    student, teacher = (t.numpy() / temperature for t in pair)
    weights = (weights * 2)[: student.shape[1] + 1]
    expected = torch.zeros(len(student), dtype=torch.float64)
    for column, weight in enumerate(weights[:-1]):
        yes = expit(teacher[:, column]) * log_expit(student[:, column])
        no = expit(-teacher[:, column]) * log_expit(-student[:, column])
        expected -= torch.from_numpy(temperature**2 * (weight * yes + weights[-1] * no))
    value = weighted_class_kd(
        *pair,
        class_weights=torch.tensor(weights, dtype=torch.float64),
        temperature=temperature,
        use_sigmoid=True,
        reduction='none',
    )
    assert_close(value, expected, rtol=1e-9, atol=1e-9)


@given(pair=row_pairs(), temperature=temperatures)
def test_gradient_formula(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = pair
    student.requires_grad_()
    value = weighted_class_kd(
        student, teacher, temperature=temperature, reduction='sum'
    )
    weights = torch.ones(student.shape[1], dtype=torch.float64)
    weights[-1] = 1.5
    probs = (student / temperature).softmax(1)
    target = weights * (teacher / temperature).softmax(1)
    expected = temperature * (probs * target.sum(1, keepdim=True) - target)
    assert_close(gradient(value, student), expected.detach())


@given(pair=row_pairs())
def test_minimum_is_at_the_weighted_teacher(pair: tuple[Tensor, Tensor]) -> None:
    _, teacher = pair
    weights = torch.ones(teacher.shape[1], dtype=torch.float64)
    weights[-1] = 1.5
    best = (weights.log() + teacher).requires_grad_()  # probs ~ weights * probs
    slope = gradient(weighted_class_kd(best, teacher), best)
    assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-12)


def test_where_they_agree_the_background_is_pulled_up() -> None:
    student = PROBS_TEACHER.log().requires_grad_()
    value = weighted_class_kd(student, PROBS_TEACHER.log(), background=0)
    assert gradient(value, student)[0, 0] < -0.1


@given(pair=row_pairs(), shift=st.floats(-5, 5), teacher_shift=st.floats(-5, 5))
def test_ignores_a_constant_added_to_a_row(
    pair: tuple[Tensor, Tensor], shift: float, teacher_shift: float
) -> None:
    student, teacher = pair
    shifted = weighted_class_kd(student + shift, teacher + teacher_shift)
    assert_close(shifted, weighted_class_kd(student, teacher))


def test_swapping_student_and_teacher_changes_it() -> None:
    forward = weighted_class_kd(STUDENT, TEACHER)
    assert abs(forward - weighted_class_kd(TEACHER, STUDENT)) > 1e-3


@pytest.mark.parametrize(('columns', 'use_sigmoid'), [(4, False), (3, True)])
def test_a_list_of_weights_says_the_same_as_the_backgrounds(
    columns: int, use_sigmoid: bool
) -> None:
    student, teacher = torch.randn(2, 5, columns)
    number = WeightedClassKDLoss(background_weight=2.5, use_sigmoid=use_sigmoid)
    listed = WeightedClassKDLoss(class_weights=[1, 1, 1, 2.5], use_sigmoid=use_sigmoid)
    assert_close(listed(student, teacher), number(student, teacher))
    default = WeightedClassKDLoss(use_sigmoid=use_sigmoid)
    assert default.background_weight == 1.5
    assert default(student, teacher) != number(student, teacher)


def test_class_weights_move_with_the_module() -> None:
    loss = WeightedClassKDLoss(class_weights=[1.0, 2.0]).to('meta')
    assert loss.class_weights is not None
    assert loss.class_weights.is_meta


def test_module_hands_its_options_on() -> None:
    loss = WeightedClassKDLoss(loss_weight=2.0, background_weight=1.0, temperature=3.0)
    expected = 2 * weighted_class_kd(
        STUDENT, TEACHER, background_weight=1.0, temperature=3.0
    )
    assert_close(loss(STUDENT, TEACHER), expected)


@pytest.mark.parametrize(
    ('context', 'columns', 'expected'),
    [
        (None, 3, False),
        (None, 1, True),
        (LossContext(activation='sigmoid'), 3, True),
        (LossContext(activation='softmax', background=2), 3, False),
    ],
)
def test_who_says_what_the_columns_are(
    context: LossContext | None, columns: int, expected: bool
) -> None:
    student, teacher = torch.randn(2, 5, columns)
    value = WeightedClassKDLoss()(student, teacher, context=context)
    assert_close(value, weighted_class_kd(student, teacher, use_sigmoid=expected))


# Bad input


def test_both_kinds_of_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match='exclude each other: the last entry'):
        WeightedClassKDLoss(background_weight=1.5, class_weights=[1.0, 1.5])


@pytest.mark.parametrize('bad', [-1.0, math.nan, math.inf])
def test_impossible_weights_are_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match=r'class_weights\[1\] must be .* >= 0'):
        WeightedClassKDLoss(class_weights=[1.0, bad])
    with pytest.raises(ConfigError, match=r'background_weight must be .* >= 0'):
        WeightedClassKDLoss(background_weight=bad)


@pytest.mark.parametrize('temperature', [0, -1, math.nan])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    message = 'temperature must be a finite number > 0'
    with pytest.raises(ConfigError, match=message):
        WeightedClassKDLoss(temperature=temperature)
    with pytest.raises(ConfigError, match=message):
        weighted_class_kd(STUDENT, TEACHER, temperature=temperature)


@pytest.mark.parametrize(
    ('entries', 'use_sigmoid', 'needed'),
    [(2, False, '3 entries, 2 classes'), (3, True, '4 entries, 3 classes')],
)
def test_another_number_of_weights_is_refused(
    entries: int, use_sigmoid: bool, needed: str
) -> None:
    loss = WeightedClassKDLoss(class_weights=[1.0] * entries, use_sigmoid=use_sigmoid)
    with pytest.raises(ShapeError, match=f'must have {needed}.* got {entries}'):
        loss(STUDENT, TEACHER)


@pytest.mark.parametrize('background', [3, -4])
def test_a_background_outside_the_columns_is_refused(background: int) -> None:
    with pytest.raises(ShapeError, match='none of 3 columns'):
        weighted_class_kd(STUDENT, TEACHER, background=background)


def test_softmax_over_one_column_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        WeightedClassKDLoss(use_sigmoid=False)(torch.zeros(3, 1), torch.zeros(3, 1))
