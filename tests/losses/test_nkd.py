"""Normalised distillation: a label as sure as the teacher, and the rest by itself."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_expit, log_softmax, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError, ShapeError
from kd_plugins.losses import LossContext, NKDLoss, normalized_cross_entropy

from ._cases import ENTROPY, LossCase, labelled
from ._common import STUDENT, TEACHER, gradient, row_pairs, temperatures

CASES = [
    LossCase('nkd', NKDLoss, labelled(4, 4), {'temperature': 3.0}, opt_outs=ENTROPY),
    LossCase(
        'nkd-maps',
        NKDLoss,
        labelled(3, 3, 1, 1),
        opt_outs=ENTROPY,
        mask_sides=(1, 1),
    ),
    LossCase('nkd-one_column', NKDLoss, labelled(2, 1), opt_outs=ENTROPY),
    LossCase(
        'nkd-sigmoid',
        NKDLoss,
        labelled(4, 3),
        {'temperature': 2.0},
        LossContext(activation='sigmoid'),
        opt_outs=ENTROPY,
    ),
]

FIRST = torch.tensor([0])
SIGMOID = LossContext(activation='sigmoid')


# Worked out in float64 from the formula, for the running example.
@pytest.mark.parametrize(
    ('gamma', 'temperature', 'expected'),
    [
        (0.0, 1.0, 0.366844),
        (1.5, 1.0, 0.366844 + 1.5 * math.log(2)),  # q of the student is uniform
        (1.5, 1.0, 1.406564),
        (3.5, 3.0, 22.200980),
    ],
)
def test_running_example(gamma: float, temperature: float, expected: float) -> None:
    value = normalized_cross_entropy(
        STUDENT, TEACHER, target=FIRST, gamma=gamma, temperature=temperature
    )
    assert value.item() == pytest.approx(expected, abs=1e-6)
    loss = NKDLoss(loss_weight=2.0, gamma=gamma, temperature=temperature)
    assert_close(loss(STUDENT, TEACHER, target=FIRST), 2 * value)


@given(pair=row_pairs(), temperature=temperatures)
def test_equals_scipy(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    target = torch.arange(len(pair[0])) % pair[0].shape[1]
    expected = []
    for student, teacher, label in zip(*pair, target.tolist(), strict=True):
        student, teacher = student.numpy(), teacher.numpy()
        others = [column for column in range(len(student)) if column != label]
        first = -softmax(teacher)[label] * log_softmax(student)[label]
        q, log_q = (
            function(row[others] / temperature)
            for function, row in ((softmax, teacher), (log_softmax, student))
        )
        expected.append(first - 0.7 * temperature**2 * (q * log_q).sum())
    value = normalized_cross_entropy(
        *pair, target=target, gamma=0.7, temperature=temperature, reduction='none'
    )
    assert_close(value, torch.tensor(expected).double(), rtol=1e-9, atol=1e-9)


@given(pair=row_pairs(), temperature=temperatures)
def test_the_second_term_leaves_the_target_alone(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    student.requires_grad_()
    target = torch.zeros(len(student), dtype=torch.long)
    first, both = (
        gradient(
            normalized_cross_entropy(
                student, teacher, target=target, gamma=gamma, temperature=temperature
            ),
            student,
        )
        for gamma in (0.0, 2.0)
    )
    assert_close(both[:, 0], first[:, 0])
    if student.shape[1] == 2:  # of a single other class there is nothing to learn
        assert_close(both, first)


def test_first_term_is_the_label_weighted_by_the_teacher() -> None:
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    student.requires_grad_()
    target = torch.randint(4, (6,))
    value = normalized_cross_entropy(student, teacher, target=target, gamma=0.0)
    sure = teacher.softmax(1).gather(1, target[:, None])
    one_hot = torch.nn.functional.one_hot(target, 4)
    expected = sure * (student.softmax(1) - one_hot) / 6
    assert_close(gradient(value, student), expected.detach())


@given(pair=row_pairs(), shift=st.floats(-5, 5), teacher_shift=st.floats(-5, 5))
def test_ignores_a_constant_added_to_a_row(
    pair: tuple[Tensor, Tensor], shift: float, teacher_shift: float
) -> None:
    student, teacher = pair
    target = torch.zeros(len(student), dtype=torch.long)
    shifted = normalized_cross_entropy(
        student + shift, teacher + teacher_shift, target=target
    )
    assert_close(shifted, normalized_cross_entropy(student, teacher, target=target))


def test_permuting_classes_and_labels_changes_nothing() -> None:
    student, teacher = torch.randn(2, 6, 4)
    target, order = torch.randint(4, (6,)), torch.randperm(4)
    value = normalized_cross_entropy(
        student[:, order], teacher[:, order], target=order.argsort()[target]
    )
    assert_close(value, normalized_cross_entropy(student, teacher, target=target))


def test_maps_are_rows_and_ignored_labels_may_be_anything() -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4)
    target = torch.randint(5, (2, 3, 4))
    mask = (torch.rand(2, 3, 4) > 0.4).float()
    value = NKDLoss()(
        student, teacher, target=target.masked_fill(mask == 0, 255), mask=mask
    )
    rows = [item.permute(0, 2, 3, 1)[mask > 0] for item in (student, teacher)]
    assert_close(value, normalized_cross_entropy(*rows, target=target[mask > 0]))


def test_exact_in_float32_far_from_each_other() -> None:
    student, teacher = 100 * torch.randn(2, 64, 5)
    target = torch.randint(5, (64,))
    value = normalized_cross_entropy(student, teacher, target=target)
    exact = normalized_cross_entropy(student.double(), teacher.double(), target=target)
    assert_close(value, exact.float())


# Sigmoid


@pytest.mark.parametrize('columns', [2, 3, 5])
def test_sigmoid_equals_a_loop(columns: int) -> None:
    pair = torch.randn(2, 12, columns, dtype=torch.float64)
    target = torch.arange(12) % (columns + 1)  # the last is a row of no class
    expected = []
    for student, teacher, label in zip(*pair.numpy(), target.tolist(), strict=True):
        total = 0.0
        for column in range(columns):
            sign = 1 if column == label else -1
            total -= expit(sign * teacher[column]) * log_expit(sign * student[column])
        if label < columns:
            others = [column for column in range(columns) if column != label]
            q, log_q = softmax(teacher[others] / 2), log_softmax(student[others] / 2)
            total -= 0.5 * 4 * (q * log_q).sum()
        expected.append(total)
    loss = NKDLoss(gamma=0.5, temperature=2.0, reduction='none')
    value = loss(*pair, target=target, context=SIGMOID)
    assert_close(value, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize('dtype', [torch.float, torch.long])
def test_a_single_column_has_a_binary_label(dtype: torch.dtype) -> None:
    """By hand; and it is the softmax of (object, background), as some RPNs have it."""
    student, teacher = torch.tensor([[[1.0], [1.0]], [[2.0], [2.0]]])
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))
    expected = torch.tensor([-p * math.log(q), -(1 - p) * math.log(1 - q)])
    answers = torch.tensor([1, 0], dtype=dtype)
    loss = NKDLoss(reduction='none')
    assert_close(loss(student, teacher, target=answers), expected)
    background_last = [
        torch.cat([item, torch.zeros(2, 1)], 1) for item in (student, teacher)
    ]
    assert_close(loss(*background_last, target=1 - answers), expected)


# Bad input


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(gamma=-1), 'gamma must be a finite number >= 0, got -1'),
        (dict(temperature=0), 'temperature must be a finite number > 0, got 0'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NKDLoss(**options)
    with pytest.raises(ConfigError, match=message):
        normalized_cross_entropy(STUDENT, TEACHER, target=FIRST, **options)


@pytest.mark.parametrize('use_sigmoid', [False, True])
@pytest.mark.parametrize(
    ('target', 'message'),
    [
        (None, r"NKD needs a label for each row, \(3,\), .* got none.*'rpn.logits'"),
        (torch.zeros(3, 4), r'as target, got \(3, 4\)'),  # soft labels
    ],
)
def test_labels_that_do_not_fit_are_refused(
    use_sigmoid: bool, target: Tensor, message: str
) -> None:
    loss = NKDLoss(use_sigmoid=use_sigmoid)
    assert loss.needs_target
    with pytest.raises(ShapeError, match=message):
        loss(torch.zeros(3, 4), torch.zeros(3, 4), target=target)


@pytest.mark.parametrize(
    ('use_sigmoid', 'columns', 'label', 'last'),
    [(False, 4, 4, 3), (True, 4, 5, 4), (True, 1, 2, 1)],
)
def test_labels_beyond_the_columns_are_refused(
    use_sigmoid: bool, columns: int, label: int, last: int
) -> None:
    rows = torch.zeros(1, columns)
    with pytest.raises(DistillationError, match=f'label {label}, .* 0 to {last}'):
        NKDLoss(use_sigmoid=use_sigmoid)(rows, rows, target=torch.tensor([label]))


def test_softmax_over_one_column_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        NKDLoss(use_sigmoid=False)(STUDENT[:, :1], TEACHER[:, :1], target=FIRST)
