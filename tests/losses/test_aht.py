"""Attentive hints: a row's feature counts as much as the teacher is right about it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import AHTLoss, attentive_hint, hint_distance

from ._cases import LossCase, Rows, features
from ._common import backward, gradient, row_pairs


def judged(rows: int) -> Rows:
    """Features of rows, and how wrong the teacher is about each."""
    error = torch.rand(rows, 1, dtype=torch.float64)
    return {**features(5)(rows), 'target': error}


CASES = [
    LossCase(
        'aht',
        AHTLoss,
        judged,
        opt_outs={
            'test_leaves_nothing_in_the_checkpoint': (
                'it follows the range of errors, which a resumed run goes on with'
            ),
        },
    ),
    LossCase('aht-normalizer', AHTLoss, judged, {'normalizer': 2.0}),
    LossCase(
        'aht-batch',
        AHTLoss,
        judged,
        {'normalizer': 'batch', 'percentile': 75.0},
        opt_outs={
            'test_ranks_average_to_the_whole': (
                'the range is asked of the other ranks, of which there are none here'
            ),
        },
    ),
]
ERRORS = torch.tensor([[0.0], [1.0], [3.0]])


def test_three_rows_by_hand() -> None:
    teacher = torch.zeros(3, 2)
    student = torch.tensor([[1.0, 3.0], [2.0, 2.0], [9.0, 9.0]])
    loss = AHTLoss(normalizer='batch', reduction='none')  # of range 3
    value = loss(student, teacher, target=ERRORS)
    assert_close(value, torch.tensor([5.0, 4 * 2 / 3, 0.0]))
    mean = AHTLoss(normalizer=3.0, loss_weight=0.5)(student, teacher, target=ERRORS)
    assert mean.item() == pytest.approx(0.5 * (5 + 8 / 3) / 3)


def test_an_error_beyond_the_range_pushes_away_only_unless_clamped() -> None:
    student, teacher = torch.ones(2, 4), torch.zeros(2, 4)
    errors = torch.tensor([[1.0], [3.0]])
    arguments = (student, teacher, errors)
    value = attentive_hint(*arguments, normalizer=2.0, clamp=False, reduction='none')
    assert_close(value, torch.tensor([0.5, -0.5]))
    value = attentive_hint(*arguments, normalizer=2.0, reduction='none')
    assert_close(value, torch.tensor([0.5, 0.0]))


def test_a_teacher_of_equal_errors_gives_the_plain_hint() -> None:
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    value = AHTLoss(normalizer='batch')(student, teacher, target=torch.ones(6, 1))
    assert_close(value, hint_distance(student, teacher))


@given(pair=row_pairs(min_columns=1, bound=2), normalizer=st.floats(0.5, 4))
def test_equals_a_loop_over_rows(
    pair: tuple[Tensor, Tensor], normalizer: float
) -> None:
    student, teacher = pair
    errors = student[:, :1].square()
    value = attentive_hint(
        student, teacher, errors, normalizer=normalizer, reduction='none'
    )
    expected = []
    for own, other, error in zip(
        student.tolist(), teacher.tolist(), errors[:, 0].tolist(), strict=True
    ):
        distance = sum((s - t) ** 2 for s, t in zip(own, other, strict=True))
        worth = min(max(1 - error / normalizer, 0.0), 1.0)
        expected.append(worth * distance / len(own))
    assert value.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_weight_takes_no_gradient() -> None:
    student, teacher, errors = torch.ones(3, 2), torch.zeros(3, 2), ERRORS.clone()
    for item in (student, teacher, errors):
        item.requires_grad_()
    backward(AHTLoss(normalizer='batch')(student, teacher, target=errors))
    assert teacher.grad is None and errors.grad is None
    # 2 / D / rows, times the weight.
    weights = torch.tensor([[1.0], [2 / 3], [0.0]])
    assert_close(student.grad, (weights / 3).expand(3, 2))


def test_the_range_is_that_of_the_rows_that_count() -> None:
    student, teacher = torch.ones(3, 2), torch.zeros(3, 2)
    mask = torch.tensor([1.0, 1.0, 0.0])  # without the error of 3
    loss = AHTLoss(normalizer='batch')
    value = loss(student, teacher, target=ERRORS, mask=mask)
    assert value.item() == pytest.approx((1 + 0) / 2)
    # Of no row at all it is a 0 with a graph, and the running range stays.
    running = AHTLoss(warmup=0)
    student.requires_grad_()
    value = running(student, teacher, target=ERRORS, mask=torch.zeros(3))
    assert value.item() == 0 and not gradient(value, student).any()
    assert running.state_dict()['range.batches'] == 0


def test_the_running_range_waits_for_the_warm_up() -> None:
    student, teacher = torch.ones(3, 2), torch.zeros(3, 2)
    loss = AHTLoss(warmup=1, reduction='none')
    assert_close(loss(student, teacher, target=ERRORS), torch.ones(3))
    value = loss(student, teacher, target=ERRORS)
    assert_close(value, torch.tensor([1.0, 2 / 3, 0.0]))


def test_labels_are_no_errors() -> None:
    rows = torch.zeros(3, 4)
    for normalizer in (1.0, 'batch'):
        with pytest.raises(ShapeError, match="target='teacher_error'"):
            AHTLoss(normalizer=normalizer)(rows, rows, target=torch.zeros(3))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'normalizer': 0.0}, 'normalizer must be a finite number > 0'),
        ({'normalizer': 'dataset'}, "'running' or 'batch', got 'dataset'"),
        ({'percentile': 101.0}, 'percentile must be at most 100'),
        ({'normalizer': 2.0, 'percentile': 90.0}, 'Remove percentile'),
    ],
)
def test_options_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AHTLoss(**options)
