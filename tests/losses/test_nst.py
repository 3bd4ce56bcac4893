"""Neuron selectivity transfer: the channels' maps as two samples of directions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import NSTLoss, selectivity_discrepancy

from ._cases import ANY_CHANNELS, LossCase, features
from ._common import gradient

CASES = [
    LossCase('nst', NSTLoss, features(3, 2, 4), opt_outs=ANY_CHANNELS),
    LossCase(
        'nst-offset',
        NSTLoss,
        features(3, 2, 4),
        {'degree': 3, 'offset': 0.5},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'nst-linear',
        NSTLoss,
        features(3, 2, 4),
        {'kernel': 'linear'},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'nst-gaussian',
        NSTLoss,
        features(3, 2, 4),
        {'kernel': 'gaussian', 'sigma_squared': 0.5},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'nst-gaussian-own_sigma',
        NSTLoss,
        features(3, 2, 4),
        {'kernel': 'gaussian'},
        opt_outs=ANY_CHANNELS
        | {'test_gradcheck': 'sigma follows the student, and takes no gradient'},
    ),
]

OPTIONS: list[dict[str, Any]] = [
    dict(kernel='linear'),
    dict(kernel='polynomial'),
    dict(kernel='polynomial', degree=3, offset=0.5),
    dict(kernel='gaussian', sigma_squared=0.7),
    dict(kernel='gaussian'),
]


def maps() -> tuple[Tensor, Tensor]:
    """Of different channels."""
    student = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    teacher = torch.randn(2, 5, 2, 4, dtype=torch.float64)
    return student, teacher


def directions(image: Tensor) -> list[np.ndarray]:
    """Of each channel, by numpy."""
    vectors = image.detach().numpy().reshape(len(image), -1)
    return [vector / np.linalg.norm(vector) for vector in vectors]


def kernel_of(
    student_maps: list[np.ndarray],
    teacher_maps: list[np.ndarray],
    kernel: str,
    degree: int = 2,
    offset: float = 0.0,
    sigma_squared: float | None = None,
) -> Callable[[np.ndarray, np.ndarray], float]:
    """The kernel of two vectors, as the paper writes it."""
    if sigma_squared is None:
        sigma_squared = np.mean(
            [sum((x - y) ** 2) for x in student_maps for y in teacher_maps]
        )
    return {
        'linear': lambda x, y: float(x @ y),
        'polynomial': lambda x, y: float(x @ y + offset) ** degree,
        'gaussian': lambda x, y: math.exp(-sum((x - y) ** 2) / (2 * sigma_squared)),
    }[kernel]


def naive(student: Tensor, teacher: Tensor, **options: Any) -> list[float]:
    """Pair of channels by pair of channels."""
    values = []
    for images in zip(student, teacher, strict=True):
        student_maps, teacher_maps = map(directions, images)
        k = kernel_of(student_maps, teacher_maps, **options)
        values.append(
            np.mean([k(x, y) for x in student_maps for y in student_maps])
            + np.mean([k(x, y) for x in teacher_maps for y in teacher_maps])
            - 2 * np.mean([k(x, y) for x in student_maps for y in teacher_maps])
        )
    return values


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(kernel='linear'), 2),
        (dict(kernel='polynomial'), 2),
        (dict(kernel='gaussian', sigma_squared=0.5), 1.729329),
        # By default the mean squared distance, here 2.
        (dict(kernel='gaussian'), 2 - 2 * math.exp(-0.5)),
    ],
)
def test_one_channel_each_by_hand(options: dict, expected: float) -> None:
    student = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    value = selectivity_discrepancy(student, teacher, **options)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('options', OPTIONS)
def test_equals_a_naive_loop(options: dict) -> None:
    student, teacher = maps()
    value = selectivity_discrepancy(student, teacher, **options, reduction='none')
    assert value.tolist() == pytest.approx(naive(student, teacher, **options))


def test_the_square_kernel_compares_gram_matrices() -> None:
    student, teacher = maps()
    grams = [
        sum(np.outer(vector, vector) for vector in directions(item[0])) / len(item[0])
        for item in (student, teacher)
    ]
    expected = np.linalg.norm(grams[0] - grams[1], 'fro') ** 2
    value = selectivity_discrepancy(student[:1], teacher[:1])
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize('options', OPTIONS)
def test_order_number_and_length_of_channels_do_not_matter(options: dict) -> None:
    student, teacher = maps()
    value = selectivity_discrepancy(student, teacher, **options)
    lengths = torch.rand(2, 3, 1, 1, dtype=torch.float64) + 0.1
    changed = (student * lengths)[:, [2, 0, 1]].repeat(1, 2, 1, 1)
    assert_close(selectivity_discrepancy(changed, teacher, **options), value)
    changed = teacher[:, [4, 3, 1, 0, 2]]
    assert_close(selectivity_discrepancy(student, changed, **options), value)


@pytest.mark.parametrize('options', OPTIONS)
def test_moving_both_alike_changes_nothing_and_one_does(options: dict) -> None:
    student, teacher = maps()
    value = selectivity_discrepancy(student, teacher, **options)
    flipped = selectivity_discrepancy(student.flip(3), teacher.flip(3), **options)
    assert_close(flipped, value)
    assert selectivity_discrepancy(student.flip(3), student, **options) > 0.01


def test_without_the_teachers_term_only_a_constant_is_gone() -> None:
    student, teacher = maps()
    student.requires_grad_()
    full, released = (
        selectivity_discrepancy(student, teacher, full_mmd=full)
        for full in (True, False)
    )
    vectors = [directions(item) for item in teacher]
    constant = np.mean([[(x @ y) ** 2 for x in item for y in item] for item in vectors])
    assert (full - released).item() == pytest.approx(constant)
    assert_close(gradient(released, student), gradient(full, student))
    assert selectivity_discrepancy(teacher, teacher, full_mmd=False) < 0


def test_no_gradient_flows_through_the_default_sigma() -> None:
    student, teacher = (item[:1] for item in maps())
    student.requires_grad_()
    student_maps, teacher_maps = directions(student[0]), directions(teacher[0])
    sigma_squared = np.mean(
        [sum((x - y) ** 2) for x in student_maps for y in teacher_maps]
    )
    value, fixed = (
        selectivity_discrepancy(student, teacher, kernel='gaussian', sigma_squared=item)
        for item in (None, float(sigma_squared))
    )
    assert_close(value, fixed)
    assert_close(gradient(value, student), gradient(fixed, student))


@pytest.mark.parametrize('options', OPTIONS)
def test_dead_channels_give_neither_infinity_nor_nan(options: dict) -> None:
    student, teacher = maps()
    student[:, 1] = 0
    teacher[0] = 0
    student.requires_grad_()
    value = selectivity_discrepancy(student, teacher, **options)
    student_gradient = gradient(value, student)
    assert value.isfinite()
    assert student_gradient.isfinite().all()
    assert not student_gradient[:, 1].any() and student_gradient[:, 0].any()


@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('channels', [1, 7])
def test_nothing_but_rounding_where_they_are_equal(
    options: dict, channels: int
) -> None:
    """Of one channel the default sigma is then 0."""
    teacher = torch.rand(2, channels, 3, 3)
    student = teacher.clone().requires_grad_()
    value = selectivity_discrepancy(student, teacher, **options)
    assert value.abs() < 1e-6
    assert gradient(value, student).abs().max() < 1e-6


@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('scale', [1e-4, 100])
def test_the_scale_of_features_does_not_matter_in_float32(
    options: dict, scale: float
) -> None:
    student, teacher = (item.float() for item in maps())
    value = selectivity_discrepancy(student, teacher, **options)
    scaled = selectivity_discrepancy(scale * student, scale * teacher, **options)
    assert_close(scaled, value, rtol=1e-5, atol=1e-6)


def test_module_hands_its_options_on() -> None:
    student, teacher = maps()
    for options in (*OPTIONS, dict(degree=3, offset=1.0, full_mmd=False)):
        value = NSTLoss(loss_weight=2.0, **options)(student, teacher)
        assert_close(value, 2 * selectivity_discrepancy(student, teacher, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(kernel='rbf'), "'polynomial', 'linear' or 'gaussian', got 'rbf'"),
        (dict(degree=1.5), 'degree must be a whole number >= 1, got 1.5'),
        (dict(degree=0), 'degree must be a whole number >= 1, got 0'),
        (dict(offset=-1), 'offset must be a finite number >= 0, got -1'),
        (dict(sigma_squared=0), 'sigma_squared must be a finite number > 0, got 0'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NSTLoss(**options)
    with pytest.raises(ConfigError, match=message):
        selectivity_discrepancy(*maps(), **options)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        ((2, 6, 8, 10), r"differ in batch size, height or width .*'ResizeAdapter'"),
        ((3, 6, 2, 4), 'differ in batch size, height or width'),
        ((2, 6), r'teacher must be \(N, C, H, W\), got \(2, 6\)'),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    teacher: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        NSTLoss()(maps()[0], torch.zeros(teacher))
