"""Decoupled distillation: the target against the rest, and the rest by itself."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, rel_entr, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError, ShapeError
from kd_plugins.losses import (
    DKDLoss,
    LossContext,
    decoupled_divergence,
    softened_divergence,
)

from ._cases import LossCase, labelled, logits
from ._common import STUDENT, TEACHER, gradient, row_pairs, temperatures

CASES = [
    LossCase('dkd', DKDLoss, labelled(4, 4), {'temperature': 4.0, 'beta': 8.0}),
    LossCase('dkd-maps', DKDLoss, labelled(3, 3, 1, 1), mask_sides=(1, 1)),
    LossCase('dkd-one_column', DKDLoss, labelled(2, 1)),
    LossCase(
        'dkd-sigmoid',
        DKDLoss,
        labelled(4, 3),
        {'temperature': 2.0},
        LossContext(activation='sigmoid'),
    ),
    LossCase('dkd-sigmoid-unlabelled', DKDLoss, logits(3), {'use_sigmoid': True}),
]

FIRST = torch.tensor([0])


def labels(rows: Tensor) -> Tensor:
    return torch.arange(len(rows)) % rows.shape[1]


# Worked out in float64 from the formula, for the running example.
@pytest.mark.parametrize(
    ('temperature', 'target_part', 'rest', 'total'),
    [(1.0, 0.016669, 0.110944, 0.904221), (4.0, 0.026576, 0.124030, 1.018817)],
)
def test_running_example(
    temperature: float, target_part: float, rest: float, total: float
) -> None:
    for weights, expected in (
        ((1, 0), target_part),
        ((0, 1), rest),
        ((1, 8), total),
    ):
        value = decoupled_divergence(
            STUDENT,
            TEACHER,
            target=FIRST,
            alpha=weights[0],
            beta=weights[1],
            temperature=temperature,
        )
        assert value.item() == pytest.approx(expected, abs=5e-7)


@given(pair=row_pairs(), temperature=temperatures)
def test_equals_scipy(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    target = labels(pair[0])
    expected = []
    for student, teacher, label in zip(*pair, target.tolist(), strict=True):
        student, teacher = student.numpy(), teacher.numpy()
        others = [column for column in range(len(student)) if column != label]
        probs = [softmax(row / temperature) for row in (teacher, student)]
        shares = [(row[label], row[others].sum()) for row in probs]
        rest = [softmax(row[others] / temperature) for row in (teacher, student)]
        expected.append(
            temperature**2 * (0.5 * rel_entr(*shares).sum() + 3 * rel_entr(*rest).sum())
        )
    value = decoupled_divergence(
        *pair,
        target=target,
        alpha=0.5,
        beta=3.0,
        temperature=temperature,
        reduction='none',
    )
    assert_close(value, torch.tensor(expected).double(), rtol=1e-8, atol=1e-8)


@given(pair=row_pairs(), temperature=temperatures)
def test_hintons_loss_weighs_the_rest_by_the_teachers_doubt(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    target = labels(pair[0])
    options = dict(target=target, temperature=temperature, reduction='none')
    target_part = decoupled_divergence(*pair, beta=0.0, **options)
    rest = decoupled_divergence(*pair, alpha=0.0, beta=1.0, **options)
    probs = (pair[1] / temperature).softmax(1)
    doubt = 1 - probs.gather(1, target[:, None]).squeeze(1)
    expected = softened_divergence(*pair, temperature=temperature, reduction='none')
    assert_close(target_part + doubt * rest, expected, rtol=1e-9, atol=1e-9)


def test_of_two_classes_nothing_is_left_but_the_target() -> None:
    student, teacher = torch.randn(2, 6, 2)
    value = decoupled_divergence(student, teacher, target=labels(student), beta=8.0)
    assert_close(value, softened_divergence(student, teacher))


@given(pair=row_pairs(), shift=st.floats(-5, 5), teacher_shift=st.floats(-5, 5))
def test_ignores_a_constant_added_to_a_row(
    pair: tuple[Tensor, Tensor], shift: float, teacher_shift: float
) -> None:
    student, teacher = pair
    target = labels(student)
    shifted = decoupled_divergence(
        student + shift, teacher + teacher_shift, target=target
    )
    assert_close(shifted, decoupled_divergence(*pair, target=target))


def test_permuting_classes_and_labels_changes_nothing() -> None:
    student, teacher = torch.randn(2, 6, 4)
    target, order = labels(student), torch.randperm(4)
    value = decoupled_divergence(
        student[:, order], teacher[:, order], target=order.argsort()[target]
    )
    assert_close(value, decoupled_divergence(student, teacher, target=target))


def test_exact_in_float32_far_from_each_other() -> None:
    student, teacher = 100 * torch.randn(2, 64, 5)
    target = labels(student)
    value = decoupled_divergence(student, teacher, target=target)
    exact = decoupled_divergence(student.double(), teacher.double(), target=target)
    assert_close(value, exact.float())


def test_maps_are_rows_and_ignored_labels_may_be_anything() -> None:
    student, teacher = torch.randn(2, 2, 5, 3, 4)
    target = torch.randint(5, (2, 3, 4))
    mask = (torch.rand(2, 3, 4) > 0.4).float()
    value = DKDLoss()(
        student, teacher, target=target.masked_fill(mask == 0, 255), mask=mask
    )
    rows = [item.permute(0, 2, 3, 1)[mask > 0] for item in (student, teacher)]
    assert_close(value, decoupled_divergence(*rows, target=target[mask > 0]))
    assert_close(value, DKDLoss()(student, teacher, target=target.float(), mask=mask))


# Sigmoid


@pytest.mark.parametrize('columns', [2, 3, 5])
def test_sigmoid_equals_a_loop(columns: int) -> None:
    pair = torch.randn(2, 12, columns, dtype=torch.float64)
    target = torch.arange(12) % (columns + 1)  # the last is a row of no class
    expected = []
    for student, teacher, label in zip(*pair.numpy(), target.tolist(), strict=True):
        questions = [
            rel_entr((expit(t / 2), expit(-t / 2)), (expit(s / 2), expit(-s / 2))).sum()
            for s, t in zip(student, teacher, strict=True)
        ]
        if label == columns:
            expected.append(4 * 1.5 * sum(questions))
            continue
        others = [column for column in range(columns) if column != label]
        rest = [softmax(row[others] / 2) for row in (teacher, student)]
        expected.append(4 * (1.5 * questions[label] + 0.5 * rel_entr(*rest).sum()))
    loss = DKDLoss(alpha=1.5, beta=0.5, temperature=2.0, reduction='none')
    value = loss(*pair, target=target, context=LossContext(activation='sigmoid'))
    assert_close(value, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize('columns', [1, 300])
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_without_labels_each_column_is_its_own_target(
    columns: int, dtype: torch.dtype
) -> None:
    student, teacher = torch.randn(2, 6, columns).to(dtype)
    loss = DKDLoss(alpha=2.0, temperature=3.0, use_sigmoid=True)
    assert not loss.needs_target
    expected = softened_divergence(student, teacher, temperature=3.0, use_sigmoid=True)
    assert_close(loss(student, teacher), 2 * expected)


def test_the_answer_of_a_single_question_does_not_matter() -> None:
    student, teacher = torch.randn(2, 6, 1)
    loss = DKDLoss()
    assert loss.needs_target
    expected = softened_divergence(student, teacher, use_sigmoid=True)
    for target in (torch.zeros(6), torch.ones(6), torch.randint(2, (6,))):
        assert_close(loss(student, teacher, target=target), expected)


# Module and bad input


def test_module_hands_its_options_on() -> None:
    loss = DKDLoss(loss_weight=2.0, alpha=1.0, beta=8.0, temperature=4.0)
    value = loss(STUDENT, TEACHER, target=FIRST)
    assert value.item() == pytest.approx(2 * 1.018817, abs=1e-6)


def test_a_sure_teacher_still_teaches_the_rest() -> None:
    teacher = torch.tensor([[50.0, 1.0, 0.0]], dtype=torch.float64)
    student = torch.tensor([[50.0, 0.0, 1.0]], dtype=torch.float64).requires_grad_()
    value = decoupled_divergence(student, teacher, target=FIRST)
    slope = gradient(value, student)
    assert slope[0, 1] < -0.05 < 0.05 < slope[0, 2]
    assert softened_divergence(student, teacher) < 1e-12


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(alpha=-1), 'alpha must be a finite number >= 0, got -1'),
        (dict(beta=None), 'beta must be a finite number >= 0, got None'),
        (dict(temperature=0), 'temperature must be a finite number > 0, got 0'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DKDLoss(**options)
    with pytest.raises(ConfigError, match=message):
        decoupled_divergence(STUDENT, TEACHER, target=FIRST, **options)


@pytest.mark.parametrize(
    ('target', 'message'),
    [
        (None, r"DKD needs a label for each row, \(3,\), .* got none.*'roi.logits'"),
        (torch.zeros(3, 4), r'as target, got \(3, 4\)'),  # soft labels
        (torch.zeros(2), r'as target, got \(2,\)'),
    ],
)
def test_labels_that_do_not_fit_are_refused(target: Tensor, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        DKDLoss()(torch.zeros(3, 4), torch.zeros(3, 4), target=target)


@pytest.mark.parametrize(
    ('use_sigmoid', 'label', 'last'), [(False, 4, 3), (True, 5, 4)]
)
def test_labels_beyond_the_columns_are_refused(
    use_sigmoid: bool, label: int, last: int
) -> None:
    loss = DKDLoss(use_sigmoid=use_sigmoid)
    with pytest.raises(DistillationError, match=f'label {label}, .* 0 to {last}'):
        loss(torch.zeros(1, 4), torch.zeros(1, 4), target=torch.tensor([label]))


def test_softmax_over_one_column_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        DKDLoss(use_sigmoid=False)(STUDENT[:, :1], TEACHER[:, :1], target=FIRST)
