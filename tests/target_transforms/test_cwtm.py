"""CWTM: rows weigh as much as the teacher is sure of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import LabelSmoothingLoss, LossContext
from kd_plugins.target_transforms import (
    ComparedRows,
    CWTMTransform,
    confidence_weights,
)

# Of three classes, the highest 0.9, 0.6 and 0.4; of a sigmoid 0.3 as well.
PROBS = torch.tensor([[0.9, 0.05, 0.05], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]]).double()
CONTEXT = LossContext()


def weighed(teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    rows = CWTMTransform()(ComparedRows(teacher, teacher, mask), CONTEXT)
    assert rows.mask is not None and rows.teacher is teacher
    return rows.mask


def test_maxima_by_hand() -> None:
    logits = torch.tensor([0.9, 0.6, 0.3]).double().logit()[:, None]
    weights = confidence_weights(logits, use_sigmoid=True)
    assert_close(weights, torch.tensor([1 / 2, 1 / 3, 1 / 6]).double())
    weights = confidence_weights(PROBS.log())
    assert_close(weights, torch.tensor([0.9, 0.6, 0.4]).double() / 1.9)


def test_weighs_the_cross_entropy_of_the_labels_as_the_paper_does() -> None:
    student, teacher = torch.randn(2, 6, 4, dtype=torch.float64)
    target = torch.randint(4, (6,))
    highest = teacher.softmax(dim=1).amax(dim=1)
    each = F.cross_entropy(student, target, reduction='none')
    expected = (highest / highest.sum() * each).sum()
    rows = CWTMTransform()(ComparedRows(student, teacher), CONTEXT)
    loss = LabelSmoothingLoss(smoothing=0.0)
    assert_close(loss(student, target=target, mask=rows.mask), expected)
    # The host counts all rows.
    counted = loss(student, target=target, mask=rows.mask, avg_factor=6.0)
    assert_close(counted, expected)


def test_a_teacher_as_sure_of_all_rows_changes_nothing() -> None:
    teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    assert_close(weighed(teacher), torch.ones(2))
    assert_close(weighed(teacher, torch.tensor([1.0, 0.0])), torch.tensor([1.0, 0.0]))


def test_masked_rows_have_no_weight_and_may_be_anything() -> None:
    logits = PROBS.log()
    logits[1] = math.nan
    weights = weighed(logits, torch.tensor([1.0, 0.0, 1.0]))
    expected = torch.tensor([0.9, 0.0, 0.4]).double() * 2 / 1.3
    assert_close(weights, expected)
    assert not weighed(logits, torch.zeros(3)).any()


def test_pixels_of_maps_are_rows() -> None:
    maps, mask = torch.randn(2, 4, 3, 5), (torch.rand(2, 3, 5) > 0.3).float()
    rows = maps.movedim(1, 3).flatten(0, 2)
    assert_close(weighed(maps, mask).flatten(), weighed(rows, mask.flatten()))


@pytest.mark.parametrize('shape', [(3, 4), (2, 4, 2, 2)])
def test_another_shape_of_the_mask_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match='mask must be'):
        confidence_weights(torch.zeros(shape), mask=torch.ones(5))
