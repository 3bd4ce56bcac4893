"""Localization distillation: where the edges of a box lie, edge by edge."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LDLoss, localization_divergence

from ._cases import LossCase, features
from ._common import gradient, temperatures

CASES = [
    LossCase('ld', LDLoss, features(4, 5)),
    LossCase(
        'ld-mean_over_bins',
        LDLoss,
        features(4, 5),
        {'temperature': 2.0, 'mean_over_bins': True},
    ),
]


@st.composite
def edge_pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits (rows, 4, bins) of both, student first."""
    shape = (2, draw(st.integers(1, 3)), 4, draw(st.integers(2, 5)))
    elements = st.floats(-8, 8, allow_subnormal=False)
    student, teacher = draw(hnp.arrays(np.float64, shape, elements=elements))
    return torch.from_numpy(student), torch.from_numpy(teacher)


def one_hot_teacher() -> tuple[Tensor, Tensor]:
    """A box whose edges all lie in the first of 17 bins, by a logit of 10."""
    teacher = torch.zeros(1, 4, 17, dtype=torch.float64)
    teacher[..., 0] = 10
    return torch.zeros_like(teacher), teacher


def test_first_of_17_bins_by_hand() -> None:
    # Softened by 10: p = e / (e + 16) for the first bin, 1 / (e + 16) for the others.
    first = math.e / (math.e + 16)
    other = 1 / (math.e + 16)
    divergence = first * math.log(17 * first) + 16 * other * math.log(17 * other)
    assert divergence == pytest.approx(0.0489334, abs=5e-8)
    value = localization_divergence(*one_hot_teacher())
    assert value.item() == pytest.approx(100 * divergence, rel=1e-9)
    assert value.item() == pytest.approx(4.893335, abs=5e-7)


def test_scale_of_the_released_code_by_hand() -> None:
    value = localization_divergence(*one_hot_teacher(), mean_over_bins=True)
    assert value.item() == pytest.approx(0.287843, abs=5e-7)


def test_edges_are_averaged_by_hand() -> None:
    teacher = torch.zeros(1, 4, 2)
    teacher[0, 2] = torch.tensor([3.0, 1.0]).log()  # one edge of four: 3/4, 1/4
    expected = (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 4
    value = localization_divergence(torch.zeros(1, 4, 2), teacher, temperature=1.0)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@given(pair=edge_pairs(), temperature=temperatures)
def test_equals_scipy(pair: tuple[Tensor, Tensor], temperature: float) -> None:
    student, teacher = (softmax(t.numpy() / temperature, axis=2) for t in pair)
    each = temperature**2 * rel_entr(teacher, student)  # (rows, 4, bins)
    for mean_over_bins, expected in (
        (False, each.sum(2).mean(1)),
        (True, each.mean((1, 2))),
    ):
        value = localization_divergence(
            *pair,
            temperature=temperature,
            mean_over_bins=mean_over_bins,
            reduction='none',
        )
        assert_close(value, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)


def test_released_scale_adds_up_weighted_edges() -> None:
    """The host's own LD: per edge the mean over bins, 0.25 / 4 of their sum."""
    student, teacher = torch.randn(2, 7, 4, 17)
    weights = torch.rand(7)
    rows = [item.reshape(28, 17) / 10 for item in (student, teacher)]
    each = F.kl_div(rows[0].log_softmax(1), rows[1].softmax(1), reduction='none').mean(
        1
    )
    expected = 0.25 / 4 * (100 * each * weights.repeat_interleave(4)).sum()
    loss = LDLoss(loss_weight=0.25, mean_over_bins=True, reduction='sum')
    assert_close(loss(student, teacher, mask=weights), expected)


def test_the_mask_weighs_rows_once() -> None:
    student, teacher = torch.randn(2, 3, 4, 5)
    each = localization_divergence(student, teacher, reduction='none')
    weights = torch.tensor([0.5, 0.0, 0.25])
    weighed = localization_divergence(student, teacher, mask=weights, reduction='none')
    assert_close(weighed, weights * each)
    mean = localization_divergence(student, teacher, mask=weights)
    assert_close(mean, (weights * each).sum() / 0.75)


@given(pair=edge_pairs(), shift=st.floats(-5, 5), edge=st.integers(0, 3))
def test_ignores_a_constant_added_to_all_bins_of_an_edge(
    pair: tuple[Tensor, Tensor], shift: float, edge: int
) -> None:
    student, teacher = pair
    plain = localization_divergence(student, teacher)
    student = student.clone()
    student[:, edge] += shift
    assert_close(localization_divergence(student, teacher), plain)


@given(pair=edge_pairs(), temperature=temperatures)
def test_gradient_is_the_difference_of_probs(
    pair: tuple[Tensor, Tensor], temperature: float
) -> None:
    student, teacher = pair
    student.requires_grad_()
    value = localization_divergence(student, teacher, temperature=temperature)
    softened = [(t / temperature).softmax(2) for t in pair]
    expected = temperature / (4 * len(student)) * (softened[0] - softened[1])
    assert_close(gradient(value, student), expected.detach())


def test_only_the_sum_grows_with_the_boxes() -> None:
    student, teacher = torch.randn(2, 3, 4, 5)
    twice = [torch.cat([item, item]) for item in (student, teacher)]
    for reduction, factor in (('mean', 1), ('sum', 2)):
        loss = LDLoss(reduction=reduction)
        assert_close(loss(*twice), factor * loss(student, teacher))


def test_swapping_student_and_teacher_changes_it() -> None:
    student, teacher = one_hot_teacher()
    forward = localization_divergence(student, teacher)
    assert abs(forward - localization_divergence(teacher, student)) > 0.01


def test_finite_on_logits_of_a_hundred_deviations() -> None:
    student, teacher = 100 * torch.randn(2, 50, 4, 17)
    student.requires_grad_()
    value = localization_divergence(student, teacher, temperature=1.0)
    assert value.isfinite() and value > 0
    assert gradient(value, student).isfinite().all()


def test_module_hands_its_options_on() -> None:
    loss = LDLoss(loss_weight=2.0, temperature=10.0, mean_over_bins=True)
    assert loss(*one_hot_teacher()).item() == pytest.approx(2 * 0.287843, abs=1e-6)
    warmer = LDLoss(temperature=4.0)(*one_hot_teacher())
    expected = localization_divergence(*one_hot_teacher(), temperature=4.0)
    assert_close(warmer, expected)


@pytest.mark.parametrize('temperature', [0, -1, math.nan, math.inf])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    message = 'temperature must be a finite number > 0'
    with pytest.raises(ConfigError, match=message):
        LDLoss(temperature=temperature)
    with pytest.raises(ConfigError, match=message):
        localization_divergence(*one_hot_teacher(), temperature=temperature)


@pytest.mark.parametrize('shape', [(6, 17), (2, 4, 1), (1, 68, 8, 8)])
def test_what_are_no_edges_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"must be \(R, 4, n \+ 1\).*'head\.distr"):
        LDLoss()(torch.zeros(shape), torch.zeros(shape))


def test_other_numbers_of_bins_are_refused() -> None:
    with pytest.raises(ShapeError, match=r'\(2, 4, 9\) differ in .* same reg_max'):
        LDLoss()(torch.zeros(2, 4, 17), torch.zeros(2, 4, 9))
