"""Logit standardisation, and the labels that losses of class logits go by."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, DistillationError, ShapeError
from kd_plugins.losses import (
    BDKDLoss,
    DistillationLoss,
    DISTLoss,
    DKDLoss,
    KDLoss,
    NKDLoss,
    PixelWiseLoss,
    WeightedClassKDLoss,
    softened_divergence,
)
from kd_plugins.losses._logits import class_numbers, split_target, standardized

from ._common import STUDENT, TEACHER, gradient, row_pairs

LOSSES = [
    BDKDLoss,
    DISTLoss,
    DKDLoss,
    KDLoss,
    NKDLoss,
    PixelWiseLoss,
    WeightedClassKDLoss,
]
each_loss = pytest.mark.parametrize('loss', LOSSES)


def value(loss: DistillationLoss, student: Tensor, teacher: Tensor) -> Tensor:
    """Of maps (N, K, H, W), the label of each pixel its first class."""
    labelled = {}
    if isinstance(loss, DKDLoss | NKDLoss):
        labelled['target'] = torch.zeros(len(student), *student.shape[2:])
    result: Tensor = loss(student, teacher, **labelled)
    return result


def maps(classes: int = 5) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 2, classes, 3, 4, dtype=torch.float64)
    return student, teacher


def test_running_example() -> None:
    assert_close(standardized(TEACHER), torch.tensor([[1.0, 0, -1]]).double())
    root = 4 / 3**0.5 / 2  # 1.154701
    expected = torch.tensor([[root, -root / 2, -root / 2]]).double()
    assert_close(standardized(STUDENT), expected, rtol=1e-6, atol=0)
    loss = softened_divergence(STUDENT, TEACHER, temperature=2.0, standardize=True)
    assert loss.item() == pytest.approx(0.070594, abs=5e-7)


@given(pair=row_pairs(min_columns=3))
def test_equals_numpy(pair: tuple[Tensor, Tensor]) -> None:
    rows = pair[0].numpy()
    deviation = np.maximum(rows.std(axis=1, ddof=1, keepdims=True), 1e-4)
    expected = (rows - rows.mean(axis=1, keepdims=True)) / deviation
    assert_close(standardized(pair[0]), torch.from_numpy(expected), atol=1e-9, rtol=0)


@each_loss
def test_only_the_shape_of_the_logits_counts(loss: type[DistillationLoss]) -> None:
    student, teacher = maps()
    standard = loss(standardize=True, temperature=2.0)
    plain = loss(temperature=2.0)
    before = value(standard, student, teacher)
    assert_close(value(standard, 3 * student + 1, 0.2 * teacher - 2), before)
    assert not torch.allclose(value(plain, 3 * student + 1, teacher), before)
    rows = [item.permute(0, 2, 3, 1).flatten(0, 2) for item in (student, teacher)]
    scaled = [
        standardized(item).unflatten(0, (2, 3, 4)).permute(0, 3, 1, 2) for item in rows
    ]
    assert_close(value(plain, *scaled), before)


@each_loss
def test_the_student_learns_nothing_of_its_scale(loss: type[DistillationLoss]) -> None:
    student, teacher = maps()
    student.requires_grad_()
    slope = gradient(value(loss(standardize=True), student, teacher), student)
    for direction in (student, torch.ones_like(student)):
        along = (slope * direction).sum(dim=1)
        assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-12)


def test_zero_for_a_student_on_another_scale() -> None:
    _, teacher = maps()
    standard = KDLoss(standardize=True)
    assert value(standard, 0.1 * teacher + 5, teacher) < 1e-12
    assert value(KDLoss(), 0.1 * teacher + 5, teacher) > 0.1


@each_loss
def test_constant_logits_stay_finite(loss: type[DistillationLoss]) -> None:
    student, teacher = torch.full((2, 1, 4, 2, 2), 3.0)
    student = student.clone().requires_grad_()
    result = value(loss(standardize=True), student, teacher)
    assert result.isfinite()
    assert gradient(result, student).isfinite().all()


@each_loss
def test_what_cannot_be_standardised_is_refused(loss: type[DistillationLoss]) -> None:
    with pytest.raises(ConfigError, match=r'one softmax.*\(sigmoid\). Remove standard'):
        value(loss(standardize=True, use_sigmoid=True), *maps())
    with pytest.raises(ShapeError, match=r'three columns or more, .* \(24, 2\)'):
        value(loss(standardize=True), *maps(2))


# Labels


@given(data=st.data(), columns=st.integers(2, 5))
def test_splits_off_the_label(data: st.DataObject, columns: int) -> None:
    labels = data.draw(st.lists(st.integers(0, columns - 1), min_size=1, max_size=4))
    rows = torch.randn(len(labels), columns)
    targets, others = split_target(rows, torch.tensor(labels))
    for row, label, target, rest in zip(rows, labels, targets, others, strict=True):
        kept = row.tolist()
        assert target == kept.pop(label)
        assert rest.tolist() == kept


@pytest.mark.parametrize('label', [-1, 3, 255, float('nan')])
def test_labels_that_no_class_has_are_refused(label: float) -> None:
    with pytest.raises(DistillationError, match='these logits know 0 to 2'):
        class_numbers(torch.tensor([0.0, label]), 2)
