"""DIST: correlations of probabilities, within rows and within classes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import DISTLoss, LossContext, StepData, class_correlation

from ._cases import LossCase, features, logits
from ._common import gradient

OF_ALL_ROWS = {
    'test_ranks_average_to_the_whole': (
        'the intra-class term correlates the rows of a process: it cannot be split'
    ),
}
CASES = [
    LossCase('dist', DISTLoss, logits(4), {'temperature': 2.0}, opt_outs=OF_ALL_ROWS),
    LossCase(
        'dist-maps',
        DISTLoss,
        features(3, 1, 1),
        opt_outs=OF_ALL_ROWS,
        mask_sides=(1, 1),
    ),
    LossCase('dist-one_column', DISTLoss, logits(1), opt_outs=OF_ALL_ROWS),
    LossCase(
        'dist-sigmoid',
        DISTLoss,
        logits(3),
        {'beta': 2.0, 'use_sigmoid': True},
        opt_outs=OF_ALL_ROWS,
    ),
]

TEACHER = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
STUDENT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], dtype=torch.float64)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    return student, teacher


def inter(student: Tensor, teacher: Tensor, **options) -> Tensor:
    return class_correlation(student, teacher, gamma=0.0, **options)


def intra(student: Tensor, teacher: Tensor, **options) -> Tensor:
    return class_correlation(student, teacher, beta=0.0, **options)


def test_two_rows_by_hand() -> None:
    # Of the classes the first and the last correlate; the teacher's middle one is
    # constant.
    assert inter(STUDENT, TEACHER).item() == pytest.approx(0.163245, abs=5e-7)
    assert intra(STUDENT, TEACHER).item() == pytest.approx(1 / 3, rel=1e-6)
    both = class_correlation(STUDENT, TEACHER, beta=2.0, gamma=3.0)
    assert both.item() == pytest.approx(2 * 0.163245 + 1, abs=1e-6)


def test_probabilities_by_hand() -> None:
    student = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]).double().log()
    teacher = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]).double().log()
    assert inter(student, teacher).item() == pytest.approx(0.021935, abs=5e-7)
    assert intra(student, teacher).item() == pytest.approx(1 / 3, rel=1e-6)


@given(
    seed=st.integers(0, 99),
    rows=st.integers(2, 6),
    columns=st.integers(2, 5),
    temperature=st.floats(0.5, 20),
    use_sigmoid=st.booleans(),
)
def test_equals_scipy(
    seed: int, rows: int, columns: int, temperature: float, use_sigmoid: bool
) -> None:
    torch.manual_seed(seed)
    logits = pair(rows, columns)
    student_probs, teacher_probs = (
        expit(item.numpy() / temperature)
        if use_sigmoid
        else softmax(item.numpy() / temperature, axis=1)
        for item in logits
    )
    of_rows = np.array(
        [
            np.corrcoef(a, b)[0, 1]
            for a, b in zip(student_probs, teacher_probs, strict=True)
        ]
    )
    of_columns = [
        np.corrcoef(a, b)[0, 1]
        for a, b in zip(student_probs.T, teacher_probs.T, strict=True)
    ]
    expected = 1.5 * (1 - of_rows) + 0.5 * (1 - np.mean(of_columns))
    options = dict(temperature=temperature, use_sigmoid=use_sigmoid)
    value = class_correlation(*logits, beta=1.5, gamma=0.5, reduction='none', **options)
    assert_close(value, temperature**2 * torch.from_numpy(expected), atol=1e-6, rtol=0)
    mean = class_correlation(*logits, beta=1.5, gamma=0.5, **options)
    assert_close(mean, value.mean())


# Invariances


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 0.9))
def test_an_affine_image_of_each_row_is_as_good(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    _, teacher = pair(5, 4)
    student = (scale * teacher.softmax(1) + (1 - scale) / 4).log()
    value = class_correlation(student, teacher)
    assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-9)


def test_student_and_teacher_may_be_swapped() -> None:
    student, teacher = pair(6, 4)
    value = class_correlation(student, teacher, temperature=2.0)
    assert_close(class_correlation(teacher, student, temperature=2.0), value)


def test_the_order_of_rows_and_of_classes_does_not_matter() -> None:
    student, teacher = pair(6, 4)
    value = class_correlation(student, teacher)
    rows, classes = torch.randperm(6), torch.randperm(4)
    permuted = class_correlation(student[rows][:, classes], teacher[rows][:, classes])
    assert_close(permuted, value)


def test_shift_of_a_row_does_not_matter() -> None:
    student, teacher = pair(6, 4)
    shifts = torch.randn(2, 6, 1)
    shifted = class_correlation(student + shifts[0], teacher + shifts[1])
    assert_close(shifted, class_correlation(student, teacher))


# Rows: what cannot be split by them


def test_ranks_average_their_own_terms_by_their_rows() -> None:
    student, teacher = pair(8, 4)
    shares = [slice(0, 3), slice(3, 8), slice(8, 8)]
    ranks = [
        class_correlation(student[part], teacher[part], avg_factor=8 / 3)
        for part in shares
    ]
    each = class_correlation(student, teacher, gamma=0.0, reduction='none')
    terms = [intra(student[part], teacher[part]) for part in shares[:2]]
    expected = each.mean() + 3 / 8 * terms[0] + 5 / 8 * terms[1]
    assert_close(torch.stack(ranks).mean(), expected)
    assert not torch.isclose(expected, class_correlation(student, teacher))


def test_ignored_pixels_are_in_no_statistic() -> None:
    student, teacher = pair(2, 4, 3, 5)
    mask = (torch.rand(2, 3, 5) > 0.4).double()
    value = DISTLoss()(student, teacher, mask=mask)
    rows = [item.permute(0, 2, 3, 1)[mask > 0] for item in (student, teacher)]
    assert_close(value, class_correlation(*rows))
    noisy = torch.where(mask[:, None] > 0, student, torch.nan)
    assert_close(DISTLoss()(noisy, teacher, mask=mask), value)


def test_one_row_alone_has_nothing_to_correlate_with() -> None:
    student, teacher = pair(1, 4)
    student.requires_grad_()
    value = intra(student, teacher)
    assert value.item() == 1
    assert not gradient(value, student).any()


@pytest.mark.parametrize('constant', ['student', 'teacher'])
def test_what_does_not_vary_costs_1_and_has_no_gradient(constant: str) -> None:
    student, teacher = (item.float() for item in pair(500, 3))
    (student if constant == 'student' else teacher).copy_(torch.tensor([0.3, 0.1, 1]))
    student.requires_grad_()
    value = intra(student, teacher)
    assert_close(value.detach(), torch.tensor(1.0))
    assert not gradient(value, student).any()


def test_one_column_is_correlated_over_rows_alone() -> None:
    student, teacher = pair(6, 1)
    student_probs, teacher_probs = (
        expit(student.numpy()[:, 0]),
        expit(teacher.numpy()[:, 0]),
    )
    expected = 1 - np.corrcoef(student_probs, teacher_probs)[0, 1]
    assert DISTLoss(beta=5.0)(student, teacher).item() == pytest.approx(expected)


def test_two_classes_of_a_row_say_only_which_is_the_larger() -> None:
    student = torch.tensor([[3.0, 1.0], [0.0, 0.5]], requires_grad=True)
    teacher = torch.tensor([[0.1, 0.0], [1.0, 0.0]])
    each = inter(student, teacher, reduction='none')
    assert_close(each.detach(), torch.tensor([0.0, 2.0]))
    slope = gradient(each.sum(), student)
    assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-5)


def test_finite_in_float32_on_a_hundred_deviations() -> None:
    student, teacher = (100 * item.float() for item in pair(300, 19))
    student.requires_grad_()
    value = class_correlation(student, teacher)
    assert 0 < value.item() < 4
    assert gradient(value, student).isfinite().all()
    exact = class_correlation(student.double(), teacher.double())
    assert_close(value, exact.float(), rtol=1e-4, atol=0)


# Anchors as the released code mixes them


def test_anchors_of_a_point_become_columns() -> None:
    images, anchors, classes = 2, 3, 4
    maps = pair(images * anchors, classes, 2, 5)
    released = [  # what a head gives: (N, A K, H, W)
        item.reshape(images, anchors * classes, 2, 5)
        .permute(0, 2, 3, 1)
        .reshape(-1, anchors * classes)
        for item in maps
    ]
    expected = class_correlation(*released, use_sigmoid=True)
    context = LossContext(
        activation='sigmoid', step=StepData(inputs=torch.zeros(images, 3, 8, 8))
    )
    loss = DISTLoss(mix_anchors=True)
    assert_close(loss(*maps, context=context), expected)
    assert not torch.isclose(DISTLoss()(*maps, context=context), expected)
    # The view masks points, and counts anchors.
    points = (torch.rand(images, 2, 5) > 0.4).double()
    mask = points.repeat_interleave(anchors, dim=0)
    kept = [item[points.flatten() > 0] for item in released]
    value = loss(*maps, mask=mask, avg_factor=mask.sum(), context=context)
    assert_close(value, class_correlation(*kept, use_sigmoid=True))


@pytest.mark.parametrize('shape', [(6, 4), (6, 4, 2, 5)])
def test_anchors_that_are_not_there_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r'anchors=4 needs maps .* got \(6, 4'):
        class_correlation(*pair(*shape), anchors=4)
    context = (
        LossContext(step=StepData(inputs=torch.zeros(2, 3, 8, 8)))
        if len(shape) == 2
        else None
    )
    with pytest.raises(ConfigError, match='mix_anchors is for maps of a one-stage'):
        DISTLoss(mix_anchors=True)(*pair(*shape), context=context)


# Module and bad input


def test_module_hands_its_options_on() -> None:
    options = dict(beta=0.5, gamma=2.0, temperature=4.0, use_sigmoid=True)
    value = DISTLoss(loss_weight=2.0, **options)(STUDENT, TEACHER)
    assert_close(value, 2 * class_correlation(STUDENT, TEACHER, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(beta=-1), 'beta must be a finite number >= 0, got -1'),
        (dict(gamma='1'), "gamma must be a finite number >= 0, got '1'"),
        (dict(temperature=0), 'temperature must be a finite number > 0, got 0'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DISTLoss(**options)
    with pytest.raises(ConfigError, match=message):
        class_correlation(STUDENT, TEACHER, **options)


def test_softmax_over_one_column_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'over 1 column .* set use_sigmoid=True'):
        DISTLoss(use_sigmoid=False)(STUDENT[:, :1], TEACHER[:, :1])
