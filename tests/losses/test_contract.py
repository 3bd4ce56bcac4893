"""What every loss promises, on every row that the test files of losses list."""

import importlib
import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins import losses
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import DistillationLoss
from kd_plugins.losses._reductions import COUNT_EPS
from kd_plugins.registry import LOSSES

from ._cases import LossCase, Rows
from ._common import backward


def listed(name: str) -> Iterator[Any]:
    """What each test file of a loss lists under a name."""
    for file in sorted(Path(__file__).parent.glob('test_*.py')):
        if f'\n{name} = ' in file.read_text():
            module = importlib.import_module(f'.{file.stem}', __package__)
            yield from getattr(module, name)


CASES: list[LossCase] = list(listed('CASES'))
KINDS = list(dict.fromkeys(case.loss for case in CASES))


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> LossCase:
    """Each loss, unless it opts out of the test that asks."""
    case: LossCase = request.param
    reason = case.opt_outs.get(request.node.originalname)
    if reason is not None:
        pytest.skip(reason)
    return case


def with_gradient(rows: Rows) -> Rows:
    """A copy of the rows whose student takes a gradient."""
    copies = {name: tensor.detach().clone() for name, tensor in rows.items()}
    copies['student'].requires_grad_()
    return copies


def value_and_gradient(
    case: LossCase, rows: Rows, **arguments: Any
) -> tuple[Tensor, Tensor]:
    """The loss of the rows, and what it asks of the student."""
    rows = with_gradient(rows)
    value = case.value(rows, **arguments)
    backward(value.sum())
    assert rows['student'].grad is not None
    return value.detach(), rows['student'].grad


def apply(rows: Rows, change: Callable[[Tensor], Tensor]) -> Rows:
    """The rows with every tensor changed alike."""
    return {name: change(tensor) for name, tensor in rows.items()}


def reads_teacher(kind: type[DistillationLoss]) -> bool:
    """Whether a loss compares with a teacher."""
    return 'teacher' in inspect.signature(kind.forward).parameters


# Registration


def test_every_registered_loss_has_a_row() -> None:
    LOSSES.import_from_location()
    ours = {
        kind
        for kind in LOSSES.module_dict.values()
        if kind.__module__.startswith('kd_plugins.')
    }
    missing = {kind.__name__ for kind in ours - {*KINDS, *listed('WITHOUT_CASES')}}
    assert not missing, f'without a row in CASES of its test file: {missing}'


def test_names_of_rows_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_registered_loss_is_exported_with_its_base() -> None:
    for kind in KINDS:
        assert kind.__name__ in losses.__all__
        assert issubclass(kind, DistillationLoss)
        assert LOSSES.get(kind.__name__) is kind


def test_opt_outs_name_contract_tests() -> None:
    named = {name for case in CASES for name in case.opt_outs}
    assert named <= set(globals())


@pytest.mark.parametrize('kind', KINDS)
def test_forward_asks_for_what_it_needs_by_name(kind: type[DistillationLoss]) -> None:
    _, *parameters = inspect.signature(kind.forward).parameters.values()
    compared = ['student', 'teacher'] if reads_teacher(kind) else ['student']
    number = len(compared)
    assert [p.name for p in parameters[:number]] == compared
    assert {p.name for p in parameters[number:]} <= {
        'features',
        'early_features',
        'target',
        'mask',
        'avg_factor',
        'context',
    }
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[number:])


def test_leaves_nothing_in_the_checkpoint(case: LossCase) -> None:
    assert case.build().state_dict() == {}


def test_weight_and_reduction_are_those_of_the_base(case: LossCase) -> None:
    loss = case.build(loss_weight=0.25, reduction='sum')
    assert (loss.loss_weight, loss.reduction) == (0.25, 'sum')
    for options, message in (
        ({'loss_weight': -1}, 'loss_weight must be a finite number >= 0'),
        ({'reduction': 'avg'}, "reduction must be 'none', 'mean' or 'sum'"),
    ):
        with pytest.raises(ConfigError, match=message):
            case.build(**options)


# Value


def test_zero_where_student_equals_teacher(case: LossCase) -> None:
    rows = case.rows(5)
    rows['student'] = rows['teacher'].clone()
    value, gradient = value_and_gradient(case, rows)
    assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-12)
    assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_never_negative(case: LossCase) -> None:
    assert (case.value(case.rows(200), reduction='none') >= 0).all()


def test_positive_where_they_differ(case: LossCase) -> None:
    assert case.value(case.rows(200)) > 0.01


def test_a_step_down_the_gradient_lowers_it(case: LossCase) -> None:
    rows = case.rows(6)
    before, gradient = value_and_gradient(case, rows)
    rows['student'] = rows['student'] - 1e-3 * gradient
    assert case.value(rows) < before


def test_repeating_the_batch_leaves_the_mean(case: LossCase) -> None:
    rows = case.rows(3)
    twice = apply(rows, lambda tensor: torch.cat([tensor, tensor]))
    assert_close(case.value(twice), case.value(rows))


def test_permuting_the_rows_permutes_none(case: LossCase) -> None:
    rows = case.rows(7)
    order = torch.randperm(7)
    permuted = apply(rows, lambda tensor: tensor[order])
    plain = case.value(rows, reduction='none')
    assert plain.shape == (7,)
    assert_close(case.value(permuted, reduction='none'), plain[order])


def test_reductions_agree(case: LossCase) -> None:
    rows = case.rows(5)
    each = case.value(rows, reduction='none')
    assert_close(case.value(rows, reduction='sum'), each.sum())
    assert_close(case.value(rows, reduction='mean'), each.sum() / 5)
    # Of a count below the smallest, `reduce_loss` knows what becomes.
    for count in (10, 0.5, 0.0, torch.tensor(0.0)):
        mean = case.value(rows, reduction='mean', avg_factor=count)
        assert_close(mean, each.sum() / max(float(count), COUNT_EPS))


def test_linear_in_the_loss_weight(case: LossCase) -> None:
    rows = case.rows(4)
    value, gradient = value_and_gradient(case, rows)
    for weight in (0.0, 3.0):
        weighted, weighted_gradient = value_and_gradient(case, rows, loss_weight=weight)
        assert_close(weighted, weight * value)
        assert_close(weighted_gradient, weight * gradient)
    # A schedule sets it while the training lasts.
    loss = case.build()
    loss.loss_weight = 0.5
    context = {} if case.context is None else {'context': case.context}
    assert_close(loss(**rows, **context), 0.5 * value)


# Gradient


def test_gradcheck(case: LossCase) -> None:
    rows = with_gradient(case.rows(3))
    weights = torch.tensor([1.0, 0.0, 0.5], dtype=torch.float64)

    def value(student: Tensor) -> Tensor:
        return case.value({**rows, 'student': student}, mask=weights)

    assert torch.autograd.gradcheck(value, (rows['student'],))


def test_only_the_student_gets_a_gradient(case: LossCase) -> None:
    rows = apply(case.rows(4), lambda tensor: tensor.requires_grad_())
    backward(case.value(rows))
    assert rows.pop('student').grad is not None
    assert all(tensor.grad is None for tensor in rows.values())


def test_inputs_are_left_as_they_are(case: LossCase) -> None:
    rows = case.rows(4)
    before = apply(rows, torch.clone)
    case.value(rows, mask=torch.tensor([1.0, 0.0, 1.0, 0.0]))
    for name, tensor in rows.items():
        assert torch.equal(tensor, before[name])


def test_memory_layout_does_not_matter(case: LossCase) -> None:
    rows = case.rows(4)
    value, gradient = value_and_gradient(case, rows)
    sparse = apply(rows, lambda tensor: torch.stack([tensor, tensor], -1))
    sparse['student'].requires_grad_()
    strided = apply(sparse, lambda tensor: tensor[..., 0])
    assert not any(tensor.is_contiguous() for tensor in strided.values())
    strided_value = case.value(strided)
    backward(strided_value)
    assert_close(strided_value.detach(), value)
    assert sparse['student'].grad is not None
    assert_close(sparse['student'].grad[..., 0], gradient)


# Rows: masks, counts, ranks


def test_masking_equals_dropping(case: LossCase) -> None:
    rows = case.rows(6)
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    kept = mask.bool()
    value, gradient = value_and_gradient(case, rows, mask=mask)
    dropped = apply(rows, lambda tensor: tensor[kept])
    changed_value, changed_gradient = value_and_gradient(case, dropped)
    assert_close(value, changed_value)
    assert_close(gradient[kept], changed_gradient)
    assert not gradient[~kept].any()
    each = case.value(rows, mask=mask, reduction='none')
    assert_close(each[kept], case.value(dropped, reduction='none'))
    assert not each[~kept].any()


def test_what_is_masked_may_be_anything(case: LossCase) -> None:
    rows = case.rows(4)
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0])
    value, gradient = value_and_gradient(case, rows, mask=mask)
    for bad in ((math.inf, -math.inf), (math.nan, math.nan)):
        for tensor in rows.values():
            tensor[1], tensor[3] = bad
        changed_value, changed_gradient = value_and_gradient(case, rows, mask=mask)
        assert torch.equal(changed_value, value)
        assert torch.equal(changed_gradient, gradient)


# Any other count divides it too: test_reductions_agree.
@pytest.mark.parametrize(
    ('reduction', 'avg_factor'), [('mean', None), ('mean', 0.0), ('sum', None)]
)
def test_without_rows_zero_with_a_graph(
    case: LossCase, reduction: str, avg_factor: float | None
) -> None:
    for count, mask in ((0, None), (3, torch.zeros(3))):
        rows = with_gradient(case.rows(count))
        value = case.value(rows, mask, avg_factor, reduction=reduction)
        assert value.item() == 0
        assert value.grad_fn is not None
        backward(value)
        assert rows['student'].grad is not None
        assert rows['student'].grad.shape == rows['student'].shape
        assert not rows['student'].grad.any()


def test_ranks_average_to_the_whole(case: LossCase) -> None:
    rows = case.rows(8)
    some = torch.tensor([1.0, 0, 1, 1, 0, 0, 1, 1])
    for mask, first in ((None, 1), (some, 5), (some, 0)):
        value, gradient = value_and_gradient(case, rows, mask=mask)
        count = 8 if mask is None else mask.sum()
        values, gradients = [], []
        for rank in (slice(0, first), slice(first, 8)):
            share, changed_gradient = value_and_gradient(
                case,
                apply(rows, lambda tensor, rank=rank: tensor[rank]),
                mask=None if mask is None else mask[rank],
                avg_factor=count / 2,  # what reduce_mean of the ranks' counts gives
            )
            values.append(share)
            gradients.append(changed_gradient)
        assert_close(torch.stack(values).mean(), value)
        # DDP averages the gradients of the ranks.
        assert_close(torch.cat(gradients) / 2, gradient)


# Precision


def test_float64_stays_and_the_rest_is_float32(case: LossCase) -> None:
    rows = case.rows(3)
    assert case.value(rows).dtype == torch.float64
    for convert in (Tensor.float, Tensor.bfloat16, Tensor.half):
        assert case.value(apply(rows, convert)).dtype == torch.float32


def test_finite_and_near_in_bfloat16(case: LossCase) -> None:
    rows = apply(case.rows(64), Tensor.float)
    value, _ = value_and_gradient(case, rows)
    coarse = apply(rows, Tensor.bfloat16)
    changed_value, changed_gradient = value_and_gradient(case, coarse)
    assert changed_gradient.dtype == torch.bfloat16
    assert changed_gradient.isfinite().all()
    assert_close(changed_value, value, rtol=2e-2, atol=0)


def test_autocast_changes_nothing_inside(case: LossCase) -> None:
    rows = apply(case.rows(5), Tensor.float)
    value, gradient = value_and_gradient(case, rows)
    rows = with_gradient(rows)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        changed_value = case.value(rows)
    backward(changed_value)  # outside, as the hosts' wrappers do
    assert torch.equal(changed_value.detach(), value)
    assert rows['student'].grad is not None
    assert torch.equal(rows['student'].grad, gradient)


def test_behind_a_layer_under_autocast(case: LossCase) -> None:
    rows = apply(case.rows(64), Tensor.float)
    width = rows['student'].shape[-1]
    layer = torch.nn.Linear(width, width)
    student = rows['student']
    values, gradients = [], []
    for enabled in (False, True):
        layer.zero_grad()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            rows['student'] = layer(student)
            assert rows['student'].dtype == (
                torch.bfloat16 if enabled else torch.float32
            )
            value = case.value(rows)
        backward(value)
        assert layer.weight.grad is not None
        values.append(value.detach())
        gradients.append(layer.weight.grad.clone())
    assert_close(values[1], values[0], rtol=2e-2, atol=0)
    scale = gradients[0].abs().max()
    assert (gradients[1] - gradients[0]).abs().max() < 5e-2 * scale


def test_finite_for_huge_values(case: LossCase) -> None:
    rows = case.rows(16)
    rows['student'] = rows['student'].sign() * 1e4
    if 'teacher' in rows:
        rows['teacher'] = rows['teacher'].sign() * 1e4
        rows['student'][0] = -rows['teacher'][0]
    loss_weight = 1e-4  # float16 gradients end at 65504, a matter of the scaler
    for convert in (Tensor.float, Tensor.bfloat16, Tensor.half):
        typed = apply(rows, convert)
        value, gradient = value_and_gradient(case, typed, loss_weight=loss_weight)
        assert value.isfinite()
        assert gradient.isfinite().all()


# Bad input


def test_shapes_that_differ_are_refused(case: LossCase) -> None:
    rows = case.rows(4)
    student, teacher = rows['student'], rows['teacher']
    for dimension in (0, 1, -1):
        narrow = teacher.narrow(dimension, 0, 1)
        if narrow.shape == student.shape:
            # One column: broadcast the student instead.
            narrow = torch.cat([narrow, narrow], dimension)
        with pytest.raises(ShapeError, match=r'differ in|must be \('):
            case.value({**rows, 'teacher': narrow})
    with pytest.raises(ShapeError, match=r'differ in|must be \('):
        case.value({**rows, 'teacher': torch.zeros(())})


def test_masks_are_one_number_per_row(case: LossCase) -> None:
    rows = case.rows(4)
    for shape in ((), (1,), (4, 1), (3,)):
        with pytest.raises(
            ShapeError, match=r'mask must be \(4,( 1, 1)?\), one number per'
        ):
            case.value(rows, mask=torch.ones(shape))
