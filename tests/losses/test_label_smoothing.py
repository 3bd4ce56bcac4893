"""Label smoothing: a share of each label goes to all classes."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError, ShapeError
from kd_plugins.losses import (
    LabelSmoothingLoss,
    LossContext,
    label_smoothed_cross_entropy,
)

from ._cases import ALONE, LossCase, alone
from ._common import STUDENT, row_pairs

CASES = [
    LossCase('label_smoothing', LabelSmoothingLoss, alone(4, 4), opt_outs=ALONE),
    LossCase(
        'label_smoothing-maps',
        LabelSmoothingLoss,
        alone(3, 3, 1, 1),
        {'smoothing': 0.3},
        opt_outs=ALONE,
        mask_sides=(1, 1),
    ),
]

FIRST = torch.tensor([0])
SIGMOID = LossContext(activation='sigmoid')


def test_running_example() -> None:
    """The smoothed label of three classes is (0.933333, 0.033333, 0.033333)."""
    logs = [math.log(p) for p in (0.576117, 0.211942, 0.211942)]
    by_hand = -0.933333 * logs[0] - 0.033333 * (logs[1] + logs[2])
    value = label_smoothed_cross_entropy(STUDENT, target=FIRST)
    assert value.item() == pytest.approx(0.618111, abs=1e-6)
    assert value.item() == pytest.approx(by_hand, abs=1e-5)
    loss = LabelSmoothingLoss(loss_weight=2.0)
    assert_close(loss(STUDENT, target=FIRST), 2 * value)


@given(pair=row_pairs(), smoothing=st.floats(0, 1))
def test_equals_torch(pair: tuple[Tensor, Tensor], smoothing: float) -> None:
    logits, target = pair[0], torch.arange(len(pair[0])) % pair[0].shape[1]
    expected = F.cross_entropy(logits, target, label_smoothing=smoothing)
    value = label_smoothed_cross_entropy(logits, target=target, smoothing=smoothing)
    assert_close(value, expected)


def test_without_smoothing_it_is_the_cross_entropy() -> None:
    logits, target = torch.randn(6, 4), torch.randint(4, (6,))
    value = label_smoothed_cross_entropy(logits, target=target, smoothing=0.0)
    assert_close(value, F.cross_entropy(logits, target))


@pytest.mark.parametrize('smoothing', [0.1, 0.5])
def test_its_minimum_is_the_entropy_of_the_label(smoothing: float) -> None:
    label = torch.full((1, 3), smoothing / 3, dtype=torch.float64)
    label[0, 1] += 1 - smoothing
    target = torch.tensor([1])
    value = label_smoothed_cross_entropy(
        label.log(), target=target, smoothing=smoothing
    )
    assert_close(value, -(label * label.log()).sum())
    for _ in range(5):
        other = torch.randn(1, 3, dtype=torch.float64)
        elsewhere = label_smoothed_cross_entropy(
            other, target=target, smoothing=smoothing
        )
        assert elsewhere > value


def test_maps_are_rows_and_ignored_labels_may_be_anything() -> None:
    logits, target = torch.randn(2, 5, 3, 4), torch.randint(5, (2, 3, 4))
    mask = (torch.rand(2, 3, 4) > 0.4).float()
    value = LabelSmoothingLoss()(
        logits, target=target.masked_fill(mask == 0, 255), mask=mask
    )
    rows = logits.permute(0, 2, 3, 1)[mask > 0]
    expected = label_smoothed_cross_entropy(rows, target=target[mask > 0])
    assert_close(value, expected)


@pytest.mark.parametrize('smoothing', [-0.1, 1.5, True, math.nan])
def test_impossible_shares_are_refused(smoothing: float) -> None:
    with pytest.raises(ConfigError, match='smoothing must be'):
        LabelSmoothingLoss(smoothing=smoothing)
    with pytest.raises(ConfigError, match='smoothing must be'):
        label_smoothed_cross_entropy(STUDENT, target=FIRST, smoothing=smoothing)


def test_logits_of_a_sigmoid_are_refused() -> None:
    message = r"LabelSmoothingLoss needs the logits of one softmax.*'seg.logits'"
    with pytest.raises(ConfigError, match=message):
        LabelSmoothingLoss()(STUDENT, target=FIRST, context=SIGMOID)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r'needs a label for each row, \(1,\).*none'):
        LabelSmoothingLoss()(STUDENT)
    with pytest.raises(DistillationError, match='label 3, and these logits know 0 to'):
        LabelSmoothingLoss()(STUDENT, target=torch.tensor([3]))
    with pytest.raises(ShapeError, match='over 1 column'):
        LabelSmoothingLoss()(STUDENT[:, :1], target=FIRST)
