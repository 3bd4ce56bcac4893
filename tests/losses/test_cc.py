"""Correlation congruence: kernels between the samples of a batch."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import CCLoss, correlation_congruence

from ._cases import DIVIDED_BY_SAMPLES, RELATIONS, LossCase, features
from ._common import gradient, rows

ORDER_OF_SAMPLES = {
    'test_repeating_the_batch_leaves_the_mean': (
        'the last sample then has a neighbour, the first again'
    ),
    'test_permuting_the_rows_permutes_none': 'neighbours are those in the batch',
}
CASES = [
    LossCase('cc', CCLoss, features(6), opt_outs=RELATIONS),
    LossCase(
        'cc-bilinear',
        CCLoss,
        features(6),
        {'kernel': 'bilinear'},
        opt_outs=RELATIONS
        | {
            'test_finite_for_huge_values': (
                'its gradient is of the third power of the embeddings: float16 ends'
            ),
        },
    ),
    LossCase(
        'cc-norm',
        CCLoss,
        features(6),
        {'variant': 'norm'},
        opt_outs=RELATIONS | DIVIDED_BY_SAMPLES,
    ),
    LossCase(
        'cc-neighbor',
        CCLoss,
        features(6),
        {'variant': 'neighbor'},
        opt_outs=RELATIONS | ORDER_OF_SAMPLES,
    ),
]


def naive(student: Tensor, teacher: Tensor, **options: Any) -> list[float]:
    """Pair by pair."""

    def kernel(first: np.ndarray, second: np.ndarray) -> float:
        if options.get('kernel') == 'bilinear':
            return float(first @ second)
        gamma, order = options.get('gamma', 0.4), options.get('order', 2)
        first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
        if order is None:
            return math.exp(-gamma * ((first - second) ** 2).sum())
        terms = [
            (2 * gamma) ** p / math.factorial(p) * (first @ second) ** p
            for p in range(order + 1)
        ]
        return math.exp(-2 * gamma) * sum(terms)

    found = []
    for i in range(len(student)):
        total = 0.0
        for j in range(len(student)):
            student_kernel = kernel(student[i].numpy(), student[j].numpy())
            total += (
                student_kernel - kernel(teacher[i].numpy(), teacher[j].numpy())
            ) ** 2
        found.append(total / len(student))
    return found


def test_two_samples_by_hand() -> None:
    """The teacher's are of one direction, the student's of a right angle."""
    student, teacher = torch.eye(2), torch.ones(2, 2)
    value = correlation_congruence(student, teacher)
    at_one, at_zero = (
        math.exp(-0.8) * (1 + 0.8 * cosine + 0.32 * cosine**2) for cosine in (1, 0)
    )
    assert value.item() == pytest.approx(2 * (at_one - at_zero) ** 2 / 4, rel=1e-5)
    assert value.item() == pytest.approx(0.126629, abs=1e-6)


@pytest.mark.parametrize(
    ('cosine', 'expected'),
    [(1.0, 0.952577), (0.5, 0.665007), (0.0, 0.449329), (-1.0, 0.233651)],
)
def test_kernel_at_known_angles(cosine: float, expected: float) -> None:
    sine = math.sqrt(1 - cosine**2)
    student = torch.tensor([[1.0, 0.0], [cosine, sine]], dtype=torch.float64)
    teacher = torch.ones(2, 1, dtype=torch.float64)  # a cosine of 1: 0.952577
    each = correlation_congruence(student, teacher, reduction='none')
    difference = (0.952577 - expected) ** 2 / 2
    assert each.tolist() == pytest.approx([difference] * 2, abs=2e-6)


@pytest.mark.parametrize(
    'options',
    [{}, {'kernel': 'bilinear'}, {'gamma': 0.7, 'order': 3}, {'order': None}],
)
def test_equals_a_naive_loop(options: dict[str, Any]) -> None:
    student, teacher = rows()
    each = correlation_congruence(student, teacher, reduction='none', **options)
    assert each.tolist() == pytest.approx(naive(student, teacher, **options))


def test_the_series_ends_at_the_exponential() -> None:
    student, teacher = rows()
    exact = correlation_congruence(student, teacher, order=None)
    assert_close(correlation_congruence(student, teacher, order=30), exact)
    assert abs(correlation_congruence(student, teacher, order=1) - exact) > 1e-3


@pytest.mark.parametrize('kernel', ['gaussian', 'bilinear'])
def test_norm_is_the_root_over_the_square_of_the_count(kernel: str) -> None:
    student, teacher = rows()
    student.requires_grad_()
    mean = correlation_congruence(student, teacher, kernel=kernel)
    expected = (mean * 36).sqrt() / 36
    value = correlation_congruence(student, teacher, kernel=kernel, variant='norm')
    assert_close(value, expected)
    assert_close(gradient(value, student), gradient(expected, student))


def test_neighbor_is_the_product_of_differences_in_a_row() -> None:
    student, teacher = rows(width=4)
    student.requires_grad_()
    difference = (student - teacher).abs()
    expected = (difference[:-1] * difference[1:]).sum(1).mean()
    value = correlation_congruence(student, teacher, variant='neighbor')
    assert_close(value, expected)
    assert_close(gradient(value, student), gradient(expected, student))
    each = correlation_congruence(
        student, teacher, variant='neighbor', reduction='none'
    )
    assert each[-1] == 0


def test_neighbors_are_those_kept() -> None:
    student, teacher = rows(7, width=4)
    mask = torch.tensor([0.0, 1, 1, 0, 0, 1, 1])
    value = correlation_congruence(student, teacher, variant='neighbor', mask=mask)
    kept = mask.bool()
    alone = correlation_congruence(student[kept], teacher[kept], variant='neighbor')
    assert_close(value, alone)


def test_gaussian_goes_by_directions_alone() -> None:
    student, teacher = rows()
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    lengths = torch.rand(6, 1, dtype=torch.float64) + 0.1
    changed = correlation_congruence(lengths * student @ rotation, teacher * 1e-5)
    assert_close(changed, correlation_congruence(student, teacher))


def test_bilinear_goes_with_the_fourth_power_of_the_scale() -> None:
    student, teacher = rows()
    value = correlation_congruence(student, teacher, kernel='bilinear')
    scaled = correlation_congruence(3 * student, 3 * teacher, kernel='bilinear')
    assert_close(scaled, 81 * value)


@pytest.mark.parametrize('variant', ['paper', 'norm', 'neighbor'])
@pytest.mark.parametrize('kernel', ['gaussian', 'bilinear'])
@pytest.mark.parametrize('count', [0, 1, 2])
def test_few_samples_that_are_equal(variant: str, kernel: str, count: int) -> None:
    for fill in (0.0, 2.0):
        student = torch.full((count, 3), fill, requires_grad=True)
        value = correlation_congruence(
            student, torch.full((count, 3), fill), variant=variant, kernel=kernel
        )
        assert value.item() == 0
        assert not gradient(value, student).any()


@pytest.mark.parametrize('variant', ['paper', 'norm'])
def test_dead_samples_give_neither_infinity_nor_nan(variant: str) -> None:
    student, teacher = (item.float() for item in rows())
    student[1:3] = 0
    student.requires_grad_()
    value = correlation_congruence(student, teacher, variant=variant)
    student_gradient = gradient(value, student)
    assert value > 0
    assert student_gradient.isfinite().all()
    assert not student_gradient[1:3].any()


@pytest.mark.parametrize('variant', ['paper', 'norm', 'neighbor'])
@pytest.mark.parametrize('kernel', ['gaussian', 'bilinear'])
def test_finite_for_a_hundred_standard_deviations(variant: str, kernel: str) -> None:
    student, teacher = 100 * torch.randn(2, 64, 256)
    student.requires_grad_()
    value = correlation_congruence(student, teacher, variant=variant, kernel=kernel)
    assert value > 0
    assert value.isfinite()
    assert gradient(value, student).isfinite().all()


@pytest.mark.parametrize(
    'options',
    [
        {'kernel': 'bilinear', 'variant': 'norm'},
        {'gamma': 0.7, 'order': 3},
        {'variant': 'neighbor'},
    ],
)
def test_module_hands_its_options_on(options: dict[str, Any]) -> None:
    student, teacher = rows(width=4)
    value = CCLoss(loss_weight=2.0, **options)(student, teacher)
    assert_close(value, 2 * correlation_congruence(student, teacher, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(kernel='rbf'), "kernel must be 'gaussian' or 'bilinear', got 'rbf'"),
        (dict(variant='mmd'), "variant must be 'paper', 'norm' or 'neighbor'"),
        (dict(gamma=0), 'gamma must be a finite number > 0, got 0'),
        (dict(order=0), 'order must be a whole number >= 1, got 0'),
        (dict(order=10**12), 'order must be at most 100, got 1000000000000. None'),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CCLoss(**options)
    with pytest.raises(ConfigError, match=message):
        correlation_congruence(*rows(), **options)


@pytest.mark.parametrize(
    'options', [{'kernel': 'bilinear'}, {'gamma': 1.0}, {'order': None}]
)
def test_options_of_a_kernel_go_with_a_kernel(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'no kernel: remove kernel, gamma and order'):
        CCLoss(variant='neighbor', **options)


def test_neighbors_need_the_same_channels() -> None:
    with pytest.raises(ShapeError, match=r"'neighbor' compares .* LinearAdapter of"):
        CCLoss(variant='neighbor')(*rows())
