"""Attentive imitation: the teacher is worth as much as it is right."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import AILLoss, attentive_imitation
from kd_plugins.losses._teacher_error import error_range, teacher_reliability

from ._cases import LossCase, Rows, bounded_deltas, features
from ._common import backward, gradient, row_pairs


def aimed(*shape: int) -> Callable[[int], Rows]:
    """Deltas, or maps, and what both should be."""
    return lambda rows: {
        **features(*shape)(rows),
        'target': torch.randn(rows, *shape, dtype=torch.float64),
    }


CASES = [
    LossCase(
        'ail',
        AILLoss,
        bounded_deltas,
        opt_outs={
            'test_leaves_nothing_in_the_checkpoint': (
                'it follows the range of errors, which a resumed run goes on with'
            ),
        },
    ),
    LossCase('ail-normalizer', AILLoss, bounded_deltas, {'normalizer': 8.0}),
    LossCase(
        'ail-batch',
        AILLoss,
        bounded_deltas,
        {'normalizer': 'batch', 'percentile': 75.0},
        opt_outs={
            'test_ranks_average_to_the_whole': (
                'the range is asked of the other ranks, of which there are none here'
            ),
        },
    ),
    LossCase(
        'ail-task',
        AILLoss,
        bounded_deltas,
        {'normalizer': 8.0, 'alpha': 0.25, 'with_task': True},
        opt_outs={
            'test_zero_where_student_equals_teacher': (
                "there the task's term is the teacher's error"
            ),
        },
    ),
    LossCase('ail-plain', AILLoss, features(4), {'mode': 'plain'}),
    LossCase('ail-bounded', AILLoss, bounded_deltas, {'mode': 'bounded'}),
    LossCase('ail-minimum', AILLoss, aimed(4), {'mode': 'minimum'}),
    LossCase(
        'ail-maps',
        AILLoss,
        aimed(1, 1, 1),
        {'normalizer': 8.0},
        mask_sides=(1, 1),
    ),
]


def rows_of_errors(*errors: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rows whose teacher has these errors, and whose student is 1 from the teacher."""
    teacher = torch.tensor(errors).sqrt()[:, None]
    return teacher + 1, teacher, torch.zeros_like(teacher)


def imitation_of(loss: AILLoss, *errors: float) -> Tensor:
    """What each row's imitation weighs in a loss of alpha 0."""
    student, teacher, target = rows_of_errors(*errors)
    value: Tensor = loss(student, teacher, target=target)
    return value


def running(**options: Any) -> AILLoss:
    return AILLoss(alpha=0.0, reduction='none', **options)


# The weight


def test_three_errors_by_hand() -> None:
    worth = teacher_reliability(torch.tensor([0.0, 1.0, 3.0]), 3.0)
    assert_close(worth, torch.tensor([1.0, 2 / 3, 0.0]))
    loss = running(normalizer='batch')
    assert_close(imitation_of(loss, 0, 1, 3), torch.tensor([1.0, 2 / 3, 0.0]))


def test_two_errors_by_hand_and_clamped() -> None:
    loss = running(normalizer='batch', clamp=False)
    assert_close(imitation_of(loss, 1, 3), torch.tensor([0.5, -0.5]))
    loss = running(normalizer='batch')
    assert_close(imitation_of(loss, 1, 3), torch.tensor([0.5, 0.0]))


@pytest.mark.parametrize('normalizer', [0.0, -1.0, math.nan, -math.inf])
def test_without_a_range_all_are_worth_the_same(normalizer: float) -> None:
    for given_as in (normalizer, torch.tensor(normalizer)):
        worth = teacher_reliability(torch.tensor([0.0, 5.0]), given_as, clamp=False)
        assert torch.equal(worth, torch.ones(2))


def test_a_teacher_of_equal_errors_gives_the_plain_mixture() -> None:
    student, teacher, target = rows_of_errors(0, 0, 0)
    loss = AILLoss(normalizer='batch', with_task=True, alpha=0.25)
    plain = attentive_imitation(
        student, teacher, target, mode='plain', with_task=True, alpha=0.25
    )
    assert_close(loss(student, teacher, target=target), plain)
    assert plain.item() == pytest.approx(0.25 + 0.75)


def test_a_worthless_teacher_leaves_the_tasks_gradient() -> None:
    student, teacher, target = rows_of_errors(2.0)
    student.requires_grad_()
    value = attentive_imitation(
        student, teacher, target, normalizer=2.0, with_task=True, alpha=0.3
    )
    task = (student - target).square().sum()
    assert_close(gradient(value, student), 0.3 * gradient(task, student))


def test_the_weight_takes_no_gradient() -> None:
    student, teacher, target = rows_of_errors(0.0, 1.0)
    for item in (student, teacher, target):
        item.requires_grad_()
    backward(AILLoss(normalizer='batch')(student, teacher, target=target))
    assert teacher.grad is None and target.grad is None
    expected = 0.5 / 2 * 2 * torch.tensor([[1.0], [0.0]])  # (1 - alpha) / n, slope 2
    assert_close(student.grad, expected)


# The loss


def naive(
    student: Tensor, teacher: Tensor, target: Tensor, **options: Any
) -> list[float]:
    """Row by row, number by number."""
    values = []
    for student_row, teacher_row, aim in zip(
        student.tolist(), teacher.tolist(), target.tolist(), strict=True
    ):
        task = sum((s - y) ** 2 for s, y in zip(student_row, aim, strict=True))
        imitation = sum(
            (s - t) ** 2 for s, t in zip(student_row, teacher_row, strict=True)
        )
        error = sum((t - y) ** 2 for t, y in zip(teacher_row, aim, strict=True))
        if options['mode'] == 'minimum':
            values.append(min(task, imitation))
            continue
        worth = 1.0
        if options['mode'] == 'attentive':
            worth = 1 - error / options['normalizer']
            if options['clamp']:
                worth = min(max(worth, 0.0), 1.0)
        elif options['mode'] == 'bounded':
            worth = 1.0 if task > error else 0.0
        value = (1 - options['alpha']) * worth * imitation
        values.append(value + options['with_task'] * options['alpha'] * task)
    return values


@settings(max_examples=50)
@given(
    pair=row_pairs(min_columns=1, bound=2),
    shift=st.floats(-1, 1),
    mode=st.sampled_from(['attentive', 'plain', 'bounded', 'minimum']),
    normalizer=st.floats(0.5, 20),
    clamp=st.booleans(),
    alpha=st.floats(0, 1),
    with_task=st.booleans(),
)
def test_equals_a_loop_over_rows(
    pair: tuple[Tensor, Tensor], shift: float, **options: Any
) -> None:
    student, teacher = pair
    target = shift - 0.7 * teacher
    options['with_task'] = options['with_task'] and options['mode'] != 'minimum'
    value = attentive_imitation(student, teacher, target, reduction='none', **options)
    expected = torch.tensor(
        naive(student, teacher, target, **options), dtype=torch.float64
    )
    assert_close(value, expected, rtol=1e-9, atol=1e-9)


def test_bounded_lets_a_better_student_go() -> None:
    """Unlike Chen et al.'s, it pulls to the teacher, not to the target."""
    target = torch.zeros(2, 1)
    teacher = target + 1
    student = torch.tensor([[0.9], [1.5]], requires_grad=True)
    value = attentive_imitation(
        student, teacher, target, mode='bounded', alpha=0.0, reduction='none'
    )
    assert_close(value, torch.tensor([0.0, 0.25]))
    assert_close(gradient(value.sum(), student), torch.tensor([[0.0], [1.0]]))


def test_minimum_pulls_to_the_nearer_of_target_and_teacher() -> None:
    target = torch.zeros(2, 1)
    student = torch.tensor([[0.4], [0.6]], requires_grad=True)
    value = attentive_imitation(
        student, target + 1, target, mode='minimum', reduction='none'
    )
    assert_close(value, torch.tensor([0.16, 0.16]))
    assert_close(gradient(value.sum(), student), torch.tensor([[0.8], [-0.8]]))


def test_the_heads_own_term_is_left_out_unless_asked_for() -> None:
    student, teacher, target = rows_of_errors(0.0, 4.0)
    loss = AILLoss(normalizer=8.0, alpha=0.25)
    # 3/4 of (1 + 1/2) / 2
    assert loss(student, teacher, target=target).item() == pytest.approx(0.5625)
    whole = AILLoss(normalizer=8.0, alpha=0.25, with_task=True)
    expected = 0.5625 + 0.25 * (1 + 9) / 2
    assert whole(student, teacher, target=target).item() == pytest.approx(expected)


def test_maps_are_rows_of_pixels() -> None:
    student, teacher, target = torch.randn(3, 2, 1, 3, 4)
    mask = (torch.rand(2, 3, 4) > 0.4).float()
    student.requires_grad_()
    loss = AILLoss(normalizer='batch', percentile=80.0)
    value = loss(student, teacher, target=target, mask=mask)
    kept = mask.bool()
    rows = [item[:, 0][kept][:, None] for item in (student, teacher, target)]
    assert_close(value, loss(rows[0], rows[1], target=rows[2]))
    assert not gradient(value, student)[:, 0][~kept].any()


def test_all_sampled_rows_count_where_a_view_says_so() -> None:
    student, teacher, target = rows_of_errors(0, 1, 3)
    mask = torch.tensor([1.0, 0.0, 0.0])
    loss = AILLoss(normalizer=3.0, alpha=0.0)
    arguments: dict[str, Any] = {'target': target, 'mask': mask}
    assert loss(student, teacher, **arguments).item() == pytest.approx(1)
    value = loss(student, teacher, avg_factor=4.0, **arguments)
    assert value.item() == pytest.approx(0.25)


def test_swapping_student_and_teacher_changes_it() -> None:
    student, teacher, target = rows_of_errors(0.0, 1.0)
    forward = attentive_imitation(student, teacher, target, normalizer=2.0)
    swapped = attentive_imitation(teacher, student, target, normalizer=2.0)
    assert abs(forward - swapped) > 0.1


def test_finite_on_deltas_of_a_hundred_deviations() -> None:
    student, teacher, target = 100 * torch.randn(3, 50, 4)
    student.requires_grad_()
    for mode in ('attentive', 'plain', 'bounded', 'minimum'):
        loss = AILLoss(mode=mode, normalizer='batch')
        value = loss(student, teacher, target=target)
        assert value.isfinite() and value > 0
        assert gradient(value, student).isfinite().all()


# The range of errors


def test_range_leaves_dropped_rows_out() -> None:
    _, teacher, target = rows_of_errors(9, 1, 4, 0)
    mask = torch.tensor([0.0, 1.0, 1.0, 0.0])
    assert_close(error_range(teacher, target, mask=mask), torch.tensor([1.0, 4.0]))
    for percentile in (50.0, 100.0):
        none = error_range(teacher, target, mask=torch.zeros(4), percentile=percentile)
        assert none.tolist() == [math.inf, -math.inf]
        empty = error_range(teacher[:0], target[:0], percentile=percentile)
        assert empty.tolist() == [math.inf, -math.inf]


@given(
    errors=st.lists(st.floats(0, 50, width=32), min_size=1, max_size=30),
    percentile=st.sampled_from([1.0, 12.5, 25.0, 50.0, 75.0, 93.75, 100.0]),
)
def test_percentile_equals_numpy(errors: list[float], percentile: float) -> None:
    _, teacher, target = rows_of_errors(*errors)
    found = error_range(teacher, target, percentile=percentile)
    rounded = teacher.square()[:, 0].numpy()
    expected = np.percentile(rounded, percentile, method='inverted_cdf')
    assert found[1].item() == pytest.approx(expected, rel=1e-6)
    assert found[0].item() == pytest.approx(rounded.min(), rel=1e-6)


def test_running_range_follows_by_hand() -> None:
    loss = running(momentum=0.75, warmup=0)
    assert_close(imitation_of(loss, 0, 1, 4), torch.tensor([1.0, 0.75, 0.0]))
    # Smallest 0.75 * 0 + 0.25 * 2 = 0.5, largest 0.75 * 4 + 0.25 * 8 = 5.
    expected = torch.tensor([1 - 2 / 4.5, 0.0])
    assert_close(imitation_of(loss, 2, 8), expected)
    assert_close(loss.state_dict()['range.errors'], torch.tensor([0.5, 5.0]))
    assert loss.state_dict()['range.batches'] == 2


def test_running_range_waits_for_the_warm_up() -> None:
    loss = running(warmup=2)
    for _ in range(2):
        assert torch.equal(imitation_of(loss, 0, 4), torch.ones(2))
    assert_close(imitation_of(loss, 0, 4), torch.tensor([1.0, 0.0]))


def test_batches_without_rows_do_not_count() -> None:
    loss = running(warmup=0)
    empty = torch.zeros(0, 4)
    before = copy.deepcopy(loss.state_dict())
    loss(empty, empty, target=empty)
    _, teacher, target = rows_of_errors(1, 2)
    loss(teacher, teacher, target=target, mask=torch.zeros(2))
    assert_close(loss.state_dict(), before)


def test_running_range_moves_in_training_alone() -> None:
    loss = running(warmup=0)
    imitation_of(loss, 0, 4)
    before = copy.deepcopy(loss.state_dict())
    with torch.no_grad():
        assert_close(imitation_of(loss, 2, 8), torch.tensor([0.5, 0.0]))
    loss.eval()
    imitation_of(loss, 2, 8)
    loss.train()
    imitation_of(copy.deepcopy(loss), 2, 8)  # what a pair of weight 0 computes with
    assert_close(loss.state_dict(), before)
    imitation_of(loss, 2, 8)
    assert loss.state_dict()['range.batches'] == 2


def test_running_range_survives_a_checkpoint() -> None:
    loss, resumed = running(warmup=0), running(warmup=0)
    imitation_of(loss, 0, 1, 4)
    resumed.load_state_dict(loss.state_dict())
    assert_close(imitation_of(resumed, 1, 3), imitation_of(loss, 1, 3))


def test_only_the_running_range_is_in_the_checkpoint() -> None:
    assert AILLoss(normalizer='batch').state_dict() == {}
    assert AILLoss(normalizer=2.0).state_dict() == {}
    assert AILLoss(mode='bounded').state_dict() == {}
    assert list(AILLoss().state_dict()) == ['range.errors', 'range.batches']


@pytest.mark.parametrize('normalizer', ['batch', 'running'])
def test_the_range_is_that_of_all_ranks(
    normalizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def all_reduce(ends: Tensor, op: Any) -> None:
        asked.append(op)
        ends.copy_(torch.minimum(ends, torch.tensor([1.0, -8.0])))  # the other's: 1, 8

    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    monkeypatch.setattr(dist, 'all_reduce', all_reduce)
    loss = running(normalizer=normalizer, warmup=0)
    expected = torch.tensor([1 - 2 / 7, 1 - 4 / 7])
    assert_close(imitation_of(loss, 2, 4), expected)
    assert asked == [dist.ReduceOp.MIN]
    # A rank without rows joins in; one that does not train asks nobody.
    empty = torch.zeros(0, 4)
    loss(empty, empty, target=empty)
    assert len(asked) == 2
    with torch.no_grad():
        imitation_of(loss, 2, 4)
    assert len(asked) == 2


# Bad input


def test_missing_targets_are_refused_naming_the_views_that_have_them() -> None:
    rows = torch.zeros(2, 4)
    with pytest.raises(ConfigError, match=r"needs targets.*'roi\.deltas'"):
        AILLoss()(rows, rows)
    with pytest.raises(ConfigError, match='with_task=True needs targets'):
        AILLoss(mode='plain', with_task=True)(rows, rows)
    assert AILLoss(mode='plain')(rows + 1, rows).item() == pytest.approx(2)
    needing = AILLoss(), AILLoss(mode='plain', with_task=True), AILLoss(mode='minimum')
    assert all(loss.needs_target for loss in needing)
    assert not AILLoss(mode='plain').needs_target


def test_targets_of_another_shape_are_refused() -> None:
    rows = torch.zeros(2, 4)
    for loss in (AILLoss(), AILLoss(normalizer=1.0)):
        with pytest.raises(ShapeError, match=r'and target \(1, 4\) differ in'):
            loss(rows, rows, target=rows[:1])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mode='atentive'), "mode must be 'attentive', .* got 'atentive'"),
        (dict(mode='minimum', with_task=True), "holds the task's term already"),
        (dict(normalizer=0), 'normalizer must be a finite number > 0, got 0'),
        (dict(normalizer='bach'), "normalizer must be 'running' or 'batch', got"),
        (dict(normalizer=1.0, percentile=95), 'percentile=95 applies to normal'),
        (dict(percentile=0), 'percentile must be a finite number > 0'),
        (dict(percentile=101), 'percentile must be at most 100, got 101'),
        (dict(momentum=1.0), r'momentum must be below 1, got 1\.0'),
        (dict(momentum=-0.1), 'momentum must be a finite number >= 0'),
        (dict(warmup=-1), 'warmup must be a whole number >= 0, got -1'),
        (dict(warmup=None), 'warmup must be a whole number >= 0, got None'),
        (dict(alpha=1.5), r'alpha must be between 0 and 1, got 1\.5'),
        (dict(alpha=-0.5), 'alpha must be a finite number >= 0'),
    ],
)
def test_impossible_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AILLoss(**options)
