"""Teacher-free normalised distillation: a label as sure as the student itself."""

import math

import pytest
import torch
from hypothesis import given
from scipy.special import expit, log_expit, log_softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import DistillationError, ShapeError
from kd_plugins.losses import LossContext, TfNKDLoss, teacher_free_cross_entropy

from ._cases import SELF_LABELLED, LossCase, alone
from ._common import gradient, row_pairs

CASES = [
    LossCase('tfnkd', TfNKDLoss, alone(4, 4), opt_outs=SELF_LABELLED),
    LossCase(
        'tfnkd-maps',
        TfNKDLoss,
        alone(3, 3, 1, 1),
        opt_outs=SELF_LABELLED,
        mask_sides=(1, 1),
    ),
    LossCase('tfnkd-one_column', TfNKDLoss, alone(2, 1), opt_outs=SELF_LABELLED),
    LossCase(
        'tfnkd-sigmoid',
        TfNKDLoss,
        alone(3, 3),
        context=LossContext(activation='sigmoid'),
        opt_outs=SELF_LABELLED,
    ),
]

SIGMOID = LossContext(activation='sigmoid')
# Probabilities 0.6 and 0.2 of the label; its own soft labels are 1.2 and 0.8.
LOGITS = torch.tensor([[0.6, 0.4], [0.2, 0.8]], dtype=torch.float64).log()
LABELS = torch.tensor([0, 0])


def test_two_rows_by_hand() -> None:
    each = teacher_free_cross_entropy(LOGITS, target=LABELS, reduction='none')
    expected = [-1.2 * math.log(0.6), -0.8 * math.log(0.2)]
    assert_close(each, torch.tensor(expected, dtype=torch.float64))
    loss = TfNKDLoss(loss_weight=2.0)
    assert_close(loss(LOGITS, target=LABELS), 2 * each.mean())


@given(pair=row_pairs())
def test_equals_scipy(pair: tuple[Tensor, Tensor]) -> None:
    logits, target = pair[0], torch.arange(len(pair[0])) % pair[0].shape[1]
    logs = log_softmax(logits.numpy(), axis=1)[range(len(logits)), target]
    mean = sum(math.exp(log) for log in logs) / len(logs)
    expected = [-(math.exp(log) + 1 - mean) * log for log in logs]
    value = teacher_free_cross_entropy(logits, target=target, reduction='none')
    assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_the_soft_label_takes_no_gradient_and_has_mean_one() -> None:
    """The gradient by the labels' log-probabilities is the soft label over the rows."""
    logits = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randint(5, (8,))
    probs = logits.detach().softmax(dim=1)
    of_label = probs.gather(1, target[:, None])
    soft_label = of_label + 1 - of_label.mean()
    assert soft_label.mean().item() == pytest.approx(1)
    one_hot = torch.nn.functional.one_hot(target, 5)
    value = teacher_free_cross_entropy(logits, target=target)
    assert_close(gradient(value, logits), soft_label * (probs - one_hot) / 8)


def test_rows_of_the_background_are_left_out() -> None:
    logits, target = torch.randn(6, 4), torch.tensor([0, 3, 1, 3, 2, 0])
    context = LossContext(activation='softmax', background=3)
    objects = target != 3
    expected = teacher_free_cross_entropy(logits[objects], target=target[objects])
    assert_close(TfNKDLoss()(logits, target=target, context=context), expected)
    # The host counts all rows, which as many processes average.
    counted = TfNKDLoss()(logits, target=target, avg_factor=6.0, context=context)
    assert_close(counted, expected)
    twice = TfNKDLoss()(logits, target=target, avg_factor=12.0, context=context)
    assert_close(twice, expected / 2)
    every = TfNKDLoss(with_background=True)(logits, target=target, context=context)
    assert_close(every, teacher_free_cross_entropy(logits, target=target))


def test_only_background_gives_zero_with_a_graph() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    context = LossContext(activation='softmax', background=3)
    value = TfNKDLoss()(logits, target=torch.full((3,), 3), context=context)
    assert value.item() == 0
    assert not gradient(value, logits).any()


def test_maps_are_rows_and_ignored_labels_may_be_anything() -> None:
    logits, target = torch.randn(2, 5, 3, 4), torch.randint(5, (2, 3, 4))
    mask = (torch.rand(2, 3, 4) > 0.4).float()
    value = TfNKDLoss()(logits, target=target.masked_fill(mask == 0, 255), mask=mask)
    rows = logits.permute(0, 2, 3, 1)[mask > 0]
    assert_close(value, teacher_free_cross_entropy(rows, target=target[mask > 0]))


def test_permuting_classes_and_labels_changes_nothing() -> None:
    logits, target = torch.randn(6, 4), torch.randint(4, (6,))
    order = torch.randperm(4)
    value = teacher_free_cross_entropy(logits[:, order], target=order.argsort()[target])
    assert_close(value, teacher_free_cross_entropy(logits, target=target))


# Sigmoid


def test_sigmoid_equals_a_loop_over_the_rows_with_a_class() -> None:
    logits = torch.randn(12, 3, dtype=torch.float64)
    target = torch.arange(12) % 4  # the last is a row of no class
    logs = {
        row: log_expit(logits[row, label].item())
        for row, label in enumerate(target.tolist())
        if label < 3
    }
    mean = sum(map(math.exp, logs.values())) / len(logs)
    each = [-(math.exp(log) + 1 - mean) * log for log in logs.values()]
    value = TfNKDLoss()(logits, target=target, context=SIGMOID)
    assert value.item() == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize('dtype', [torch.float, torch.long])
def test_a_single_column_has_a_binary_label(dtype: torch.dtype) -> None:
    logits = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    p, q = expit(1.0), expit(-1.0)
    expected = [-(p + 1 - 0.5) * math.log(p), -(q + 1 - 0.5) * math.log(q)]
    answers = torch.tensor([1, 0], dtype=dtype)
    value = TfNKDLoss(reduction='none')(logits, target=answers)
    assert_close(value, torch.tensor(expected, dtype=torch.float64))


# Bad input


def test_labels_that_do_not_fit_are_refused() -> None:
    assert TfNKDLoss().needs_target
    with pytest.raises(ShapeError, match=r'tf-NKD needs a label for each row, \(2,\)'):
        TfNKDLoss()(LOGITS)
    with pytest.raises(DistillationError, match='label 2, and these logits know 0 to'):
        TfNKDLoss()(LOGITS, target=torch.tensor([0, 2]))
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        TfNKDLoss(use_sigmoid=False)(LOGITS[:, :1], target=LABELS)
