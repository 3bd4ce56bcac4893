"""DKPP: the first class stays, the others are permuted."""

import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import LossContext, StepData
from kd_plugins.target_transforms import (
    ComparedRows,
    DKPPTransform,
    permuted_logits,
)
from tests.losses._common import row_pairs

CONTEXT = LossContext(pair='logits', step=StepData(iteration=0))


def permuted(teacher: Tensor, context: LossContext = CONTEXT) -> Tensor:
    rows = ComparedRows(torch.zeros_like(teacher), teacher)
    return DKPPTransform()(rows, context).teacher


def test_two_rows_by_hand() -> None:
    logits = torch.tensor([[1.0, 7.0, 2.0, 3.0], [9.0, 4.0, 5.0, 6.0]])
    order = torch.tensor([[2, 0, 1], [1, 0, 2]])
    expected = torch.tensor([[3.0, 7.0, 1.0, 2.0], [9.0, 5.0, 4.0, 6.0]])
    assert torch.equal(permuted_logits(logits, order), expected)


@given(pair=row_pairs())
def test_the_probabilities_keep_sum_maximum_and_the_others(
    pair: tuple[Tensor, Tensor],
) -> None:
    before, after = pair[0].softmax(dim=1), permuted(pair[0]).softmax(dim=1)
    assert_close(after.sum(dim=1), torch.ones(len(after)).double())
    highest = before.argmax(dim=1, keepdim=True)
    assert_close(after.gather(1, highest), before.gather(1, highest))
    assert_close(after.sort(dim=1).values, before.sort(dim=1).values)


@pytest.mark.parametrize('columns', [1, 2])
def test_with_two_classes_nothing_changes(columns: int) -> None:
    teacher = torch.randn(5, columns)
    assert torch.equal(permuted(teacher), teacher)


def test_each_row_and_step_has_its_own_order() -> None:
    teacher = torch.arange(6.0).expand(200, 6)
    orders = permuted(teacher)
    assert (orders[:, 5] == 5).all()
    assert len(orders.unique(dim=0)) > 60  # of 120
    counts = (orders[:, :5] == 0).sum(dim=0)
    assert (counts > 20).all()  # 40 on average
    state = torch.get_rng_state()
    assert torch.equal(permuted(teacher), orders)
    assert torch.equal(torch.get_rng_state(), state)
    for context in (
        LossContext(pair='logits', step=StepData(iteration=1)),
        LossContext(pair='logits', level=1, step=StepData(iteration=0)),
    ):
        assert not torch.equal(permuted(teacher, context), orders)


def test_pixels_of_maps_are_rows() -> None:
    maps = torch.randn(2, 5, 3, 4)
    after = permuted(maps)
    rows, changed = (item.movedim(1, 3).flatten(0, 2) for item in (maps, after))
    assert torch.equal(changed.sort(dim=1).values, rows.sort(dim=1).values)
    assert torch.equal(changed.argmax(dim=1), rows.argmax(dim=1))
    assert not torch.equal(changed, rows)
    order = torch.stack([torch.randperm(4) for _ in rows])
    as_maps = order.view(2, 3, 4, 4).movedim(3, 1)
    expected = permuted_logits(rows, order).view(2, 3, 4, 5).movedim(3, 1)
    assert torch.equal(permuted_logits(maps, as_maps), expected)


def test_another_shape_of_the_order_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'order must be \(3, 4\), got \(3, 5\)'):
        permuted_logits(torch.zeros(3, 5), torch.zeros(3, 5).long())
