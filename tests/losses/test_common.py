"""What all losses share: their base, the reduction, float32 rows, the checks."""

import math

import pytest
import torch
from torch.testing import assert_close

from kd_plugins.checks import check_choice, check_float, check_same_shape
from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import DistillationLoss
from kd_plugins.losses._reductions import float32_rows, reduce_loss

from ._common import backward

VALUES = torch.tensor([1.0, 2.0, 6.0])
MASK = torch.tensor([1.0, 0.0, 0.5])


@pytest.mark.parametrize(
    ('mask', 'avg_factor', 'expected'),
    [
        (None, None, 3.0),
        (None, 18, 0.5),
        (None, torch.tensor(18), 0.5),
        (None, torch.tensor(18.0, dtype=torch.float64), 0.5),
        (MASK, None, 4 / 1.5),
        (MASK, 2.0, 2.0),
        (MASK.bool(), None, 3.5),
        (None, 0.125, 72.0),  # one row on one of eight ranks: not clamped to 1
    ],
)
def test_means_by_hand(
    mask: torch.Tensor | None,
    avg_factor: float | torch.Tensor | None,
    expected: float,
) -> None:
    value = reduce_loss(VALUES, mask=mask, avg_factor=avg_factor)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected)


def test_sum_and_none_by_hand() -> None:
    assert reduce_loss(VALUES, 'sum', avg_factor=7).item() == 9
    assert reduce_loss(VALUES, 'sum', mask=MASK).item() == 4
    assert reduce_loss(VALUES, 'none', mask=MASK).tolist() == [1, 0, 3]


@pytest.mark.parametrize('avg_factor', [None, 0.0, 0.5, torch.tensor(0.0)])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('mask', [None, torch.zeros(0), torch.zeros(3)])
def test_without_rows_zero_with_a_graph(
    reduction: str, avg_factor: float | torch.Tensor | None, mask: torch.Tensor | None
) -> None:
    values = VALUES[: 0 if mask is None else len(mask)].clone().requires_grad_()
    value = reduce_loss(values, reduction, mask=mask, avg_factor=avg_factor)
    assert value.item() == 0
    backward(value)
    assert values.grad is not None and not values.grad.any()


def test_reduce_loss_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="'none', 'mean' or 'sum', got 'avg'"):
        reduce_loss(VALUES, 'avg')
    with pytest.raises(ShapeError, match=r'mask must be \(3,\).*got \(3, 1\)'):
        reduce_loss(VALUES, mask=MASK[:, None])


def test_float32_rows_leave_autocast() -> None:
    half = torch.randn(2, 2, dtype=torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with float32_rows(half, half.double()) as (single, double):
            assert (single @ single).dtype == torch.float32
            assert double.dtype == torch.float64
        assert (half.float() @ half.float()).dtype == torch.bfloat16


def test_float32_rows_blank_what_is_dropped() -> None:
    rows = torch.tensor([[1.0, 2.0], [torch.inf, torch.nan], [3.0, 4.0]])
    with float32_rows(rows, mask=MASK) as (blanked,):
        assert_close(blanked, torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))
    maps = rows.view(3, 2, 1, 1)
    with float32_rows(maps, mask=MASK) as (blanked,):
        assert blanked.flatten().tolist() == [1, 2, 0, 0, 3, 4]


@pytest.mark.parametrize(
    'weight', [-1, -1e-9, math.nan, math.inf, True, '1', None, {'type': 'LinearRamp'}]
)
def test_impossible_weights_are_refused(weight: object) -> None:
    with pytest.raises(ConfigError, match='loss_weight must be a finite number >= 0'):
        DistillationLoss(loss_weight=weight)


def test_any_reduction_that_is_known_is_kept() -> None:
    assert DistillationLoss().reduction == 'mean'
    for reduction in ('none', 'mean', 'sum'):
        assert DistillationLoss(reduction=reduction).reduction == reduction


def test_checks_name_the_key() -> None:
    assert check_float('margin', 0) == 0
    with pytest.raises(ConfigError, match=r"^tau must be a finite number > 1, got '2'"):
        check_float('tau', '2', minimum=1, strict=True)
    with pytest.raises(ConfigError, match=r"^norm must be 'a' or 'b', got 'c'\."):
        check_choice('norm', 'c', ('a', 'b'))


@pytest.mark.parametrize(
    ('first', 'second', 'layout', 'message'),
    [
        ((2, 3), (2, 4), 'MK', r'differ in classes\. .* the same classes'),
        ((2, 3), (4, 3), 'MK', r'differ in rows\. .* the same samples'),
        ((2, 4), (2, 5), 'RD', r'differ in box components\. Both must encode'),
        ((2,), (2,), 'MK', r'^left must be \(M, K\), got \(2,\)\.'),
        ((2, 3), (2,), 'MK', r'^right must be \(M, K\), got \(2,\)\.'),
    ],
)
def test_shapes_are_named(
    first: tuple[int, ...], second: tuple[int, ...], layout: str, message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        check_same_shape(
            torch.zeros(first),
            torch.zeros(second),
            layout=layout,
            names=('left', 'right'),
        )
