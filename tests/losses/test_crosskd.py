"""Class imitation of CrossKD: a focal loss of the teacher's answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_expit
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import (
    CrossKDLoss,
    LossContext,
    quality_focal_distance,
    softened_divergence,
)

from ._cases import LossCase, features, logits
from ._common import gradient, row_pairs

CASES = [
    LossCase('crosskd', CrossKDLoss, logits(4)),
    LossCase(
        'crosskd-one_column',
        CrossKDLoss,
        logits(1),
        {'beta': 2.0},
        LossContext(activation='sigmoid'),
    ),
    LossCase('crosskd-maps', CrossKDLoss, features(3, 1, 1), mask_sides=(1, 1)),
]

betas = st.sampled_from([1.0, 1.5, 2.0])


def test_three_quarters_by_hand() -> None:
    teacher = torch.tensor([[3.0]], dtype=torch.float64).log()
    value = quality_focal_distance(torch.zeros_like(teacher), teacher)
    assert value.item() == pytest.approx(0.25 * math.log(2), rel=1e-12)
    assert value.item() == pytest.approx(0.173287, abs=5e-7)
    squared = quality_focal_distance(torch.zeros_like(teacher), teacher, beta=2.0)
    assert squared.item() == pytest.approx(0.0625 * math.log(2), rel=1e-12)


def test_classes_add_up_and_rows_are_averaged_by_hand() -> None:
    logit = math.log(3.0)
    teacher = torch.tensor([[logit, 0.0], [-logit, logit]])
    each = quality_focal_distance(torch.zeros(2, 2), teacher, reduction='none')
    assert_close(each, torch.tensor([0.173287, 2 * 0.173287]), atol=1e-6, rtol=0)
    mean = quality_focal_distance(torch.zeros(2, 2), teacher)
    assert mean.item() == pytest.approx(1.5 * 0.173287, abs=1e-6)


@given(pair=row_pairs(min_columns=1), beta=betas)
def test_equals_scipy(pair: tuple[Tensor, Tensor], beta: float) -> None:
    student, teacher = (item.numpy() for item in pair)
    answers = expit(teacher)
    entropy = -answers * log_expit(student) - (1 - answers) * log_expit(-student)
    expected = (np.abs(expit(student) - answers) ** beta * entropy).sum(axis=1)
    value = quality_focal_distance(*pair, beta=beta, reduction='none')
    assert_close(value, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


@given(pair=row_pairs(min_columns=1))
def test_zero_where_they_agree_and_nowhere_else(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    assert quality_focal_distance(teacher, teacher) == 0
    apart = (student.sigmoid() - teacher.sigmoid()).abs().amax()
    if apart > 1e-6:
        assert quality_focal_distance(student, teacher) > 0


@given(pair=row_pairs(min_columns=1))
def test_asking_the_opposite_is_the_same(pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    value = quality_focal_distance(-student, -teacher)
    assert_close(value, quality_focal_distance(student, teacher))


def test_the_weight_by_distance_takes_a_gradient() -> None:
    student = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[3.0]], dtype=torch.float64).log()
    value = quality_focal_distance(student, teacher)
    # (q - p)' = -1/4, entropy ln 2; times q - p = 1/4 the entropy's p - q = -1/4.
    expected = -0.25 * math.log(2) - 0.25 * 0.25
    assert gradient(value, student).item() == pytest.approx(expected, rel=1e-9)


def test_the_mask_weighs_rows_once() -> None:
    student, teacher = torch.randn(2, 3, 4)
    each = quality_focal_distance(student, teacher, reduction='none')
    weights = torch.tensor([0.5, 0.0, 1.0])
    value = quality_focal_distance(student, teacher, mask=weights, avg_factor=2)
    assert_close(value, (weights * each).sum() / 2)


def test_pixels_of_maps_are_rows() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 5)
    rows = [item.permute(0, 2, 3, 1).reshape(-1, 3) for item in (student, teacher)]
    value = quality_focal_distance(student, teacher, reduction='none')
    assert_close(value, quality_focal_distance(*rows, reduction='none'))


def test_swapping_student_and_teacher_changes_it() -> None:
    student, teacher = torch.zeros(1, 1), torch.full((1, 1), 3.0)
    forward = quality_focal_distance(student, teacher)
    assert abs(forward - quality_focal_distance(teacher, student)) > 0.01


def test_unlike_the_divergence_it_grows_with_the_distance_squared() -> None:
    """At beta 1 about as the distance itself: the entropy beside it stays."""
    teacher = torch.zeros(1, 1, dtype=torch.float64)
    ratios = [
        [
            (loss(2 * step + teacher) / loss(step + teacher)).item()
            for loss in (
                lambda student: quality_focal_distance(student, teacher),
                lambda student: softened_divergence(student, teacher, use_sigmoid=True),
            )
        ]
        for step in (torch.tensor([[1e-3]], dtype=torch.float64),)
    ]
    assert ratios[0] == pytest.approx([2, 4], rel=1e-3)


def test_finite_on_logits_of_a_hundred_deviations() -> None:
    student, teacher = 100 * torch.randn(2, 50, 4)
    student.requires_grad_()
    value = quality_focal_distance(student, teacher)
    assert value.isfinite() and value > 0
    assert gradient(value, student).isfinite().all()


def test_module_hands_its_options_on() -> None:
    teacher = torch.tensor([[3.0]]).log()
    loss = CrossKDLoss(loss_weight=2.0, beta=2.0)
    value = loss(torch.zeros(1, 1), teacher)
    assert value.item() == pytest.approx(2 * 0.0625 * math.log(2), rel=1e-6)


@pytest.mark.parametrize('beta', [0.5, 0, -1, math.nan, math.inf])
def test_impossible_betas_are_refused(beta: float) -> None:
    message = 'beta must be a finite number >= 1'
    with pytest.raises(ConfigError, match=message):
        CrossKDLoss(beta=beta)
    with pytest.raises(ConfigError, match=message):
        quality_focal_distance(torch.zeros(1, 1), torch.zeros(1, 1), beta=beta)


def test_logits_of_one_softmax_are_refused() -> None:
    context = LossContext(activation='softmax')
    with pytest.raises(ConfigError, match=r"one softmax. Use view='cross\.logits'"):
        CrossKDLoss()(torch.zeros(1, 3), torch.zeros(1, 3), context=context)
