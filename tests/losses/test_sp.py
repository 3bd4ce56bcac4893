"""Similarity-preserving distillation: similarities of the samples of a batch."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import SPLoss, similarity_preservation

from ._cases import DIVIDED_BY_SAMPLES, RELATIONS, LossCase, features
from ._common import gradient, rows

CASES = [
    LossCase('sp', SPLoss, features(6), opt_outs=RELATIONS | DIVIDED_BY_SAMPLES),
    LossCase(
        'sp-maps',
        SPLoss,
        features(3, 4, 5),
        opt_outs=RELATIONS | DIVIDED_BY_SAMPLES,
    ),
    LossCase(
        'sp-pixels',
        SPLoss,
        features(6, 1, 1),
        {'sample': 'pixel'},
        opt_outs=RELATIONS | DIVIDED_BY_SAMPLES,
        mask_sides=(1, 1),
    ),
]


def naive(student: Tensor, teacher: Tensor) -> list[float]:
    """Sample by sample, entry by entry, by numpy."""

    def similarities(item: Tensor) -> np.ndarray:
        array = item.detach().numpy()
        products = np.array([[row @ column for column in array] for row in array])
        return products / np.linalg.norm(products, axis=1, keepdims=True)

    difference = similarities(student) - similarities(teacher)
    return [sum(entry**2 for entry in row) / len(row) for row in difference]


def test_two_samples_by_hand() -> None:
    student, teacher = torch.eye(2), torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    # (1, 0) against (0.7071, 0.7071), twice.
    expected = ((1 - math.sqrt(0.5)) ** 2 + 0.5) / 2
    value = similarity_preservation(student, teacher)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert value.item() == pytest.approx(0.292893, abs=1e-6)


def test_equals_a_naive_loop() -> None:
    student, teacher = rows()
    each = similarity_preservation(student, teacher, reduction='none')
    assert each.tolist() == pytest.approx(naive(student, teacher))


def test_equals_the_published_form_and_its_gradient() -> None:
    student, teacher = rows()
    student.requires_grad_()

    def matrix(item: Tensor) -> Tensor:
        return torch.nn.functional.normalize(item @ item.T, dim=1)

    published = (matrix(teacher) - matrix(student)).norm() ** 2 / 6**2
    value = similarity_preservation(student, teacher)
    assert_close(value, published)
    assert_close(gradient(value, student), gradient(published, student))


def test_four_samples_by_hand() -> None:
    student = torch.tensor([[1.0], [1.0], [-1.0], [1.0]])
    teacher = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    each = similarity_preservation(student, teacher, reduction='none')
    # Against (1, 1, -1, -1) / 2 one entry of four differs, or three of them.
    assert each.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.75])


@pytest.mark.parametrize('scale', [1e-6, 7.0, 1e6])
def test_scale_and_mixing_of_the_channels_do_not_matter(scale: float) -> None:
    student, teacher = rows()
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    changed = similarity_preservation(scale * student @ rotation, teacher / scale)
    assert_close(changed, similarity_preservation(student, teacher))


def test_lengths_of_the_samples_do_matter() -> None:
    student, teacher = rows()
    longer = student * torch.tensor([5.0, 1, 1, 1, 1, 1])[:, None]
    value = similarity_preservation(student, teacher)
    assert abs(similarity_preservation(longer, teacher) - value) > 1e-3


def test_twice_the_samples_of_a_kind_give_half() -> None:
    student, teacher = rows()
    twice = similarity_preservation(student.repeat(2, 1), teacher.repeat(2, 1))
    assert_close(twice, similarity_preservation(student, teacher) / 2)


@pytest.mark.parametrize('count', [0, 1])
def test_without_a_pair_it_is_zero_with_a_graph(count: int) -> None:
    student, teacher = rows(count)
    value = similarity_preservation(student.requires_grad_(), teacher)
    assert value.item() == pytest.approx(0, abs=1e-15)
    assert gradient(value, student).norm() < 1e-12


@pytest.mark.parametrize('fill', [0.0, 3.0])
def test_samples_that_are_all_equal(fill: float) -> None:
    student = torch.full((4, 3), fill, requires_grad=True)
    value = similarity_preservation(student, torch.full((4, 5), fill))
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert gradient(value, student).norm() < 1e-6


def test_dead_samples_give_neither_infinity_nor_nan() -> None:
    student, teacher = (item.float() for item in rows())
    student[1:3] = 0
    student.requires_grad_()
    value = similarity_preservation(student, teacher)
    student_gradient = gradient(value, student)
    assert value > 0
    assert student_gradient.isfinite().all()
    assert student_gradient.abs().max() < 1


def test_finite_for_a_hundred_standard_deviations() -> None:
    student, teacher = 100 * torch.randn(2, 8, 64, 12, 12)
    student.requires_grad_()
    value = SPLoss()(student, teacher)
    assert value > 0
    assert value.isfinite()
    assert gradient(value, student).isfinite().all()


def test_module_compares_whole_maps() -> None:
    student, teacher = torch.randn(2, 5, 3, 4, 4)
    value = SPLoss(loss_weight=3000.0)(student, teacher)
    expected = similarity_preservation(student.flatten(1), teacher.flatten(1))
    assert_close(value, 3000 * expected)
    mean = similarity_preservation(student.mean((2, 3)), teacher.mean((2, 3)))
    assert abs(expected - mean) > 1e-3


def test_maps_are_no_rows() -> None:
    with pytest.raises(ShapeError, match=r'student must be \(R, D\), got \(2, 3, 4, 5'):
        similarity_preservation(*torch.zeros(2, 2, 3, 4, 5))
