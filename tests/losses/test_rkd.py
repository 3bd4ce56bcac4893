"""Relational distillation: distances and angles between the samples of a batch."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import RKDLoss, relational_difference

from ._cases import RELATIONS, LossCase, features
from ._common import gradient, rows

CASES = [
    LossCase('rkd', RKDLoss, features(6), opt_outs=RELATIONS),
    LossCase('rkd-maps', RKDLoss, features(3, 4, 5), opt_outs=RELATIONS),
    LossCase(
        'rkd-l2', RKDLoss, features(6), {'with_l2_norm': True}, opt_outs=RELATIONS
    ),
]

DISTANCES = {'distance_weight': 1.0, 'angle_weight': 0.0}
ANGLES = {'distance_weight': 0.0, 'angle_weight': 1.0}


def naive(student: Tensor, teacher: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Of each sample its distances and the angles at it, by numpy, one by one."""
    count = len(student)

    def relations(item: Tensor) -> tuple[np.ndarray, np.ndarray]:
        array = item.numpy()
        distances, angles = np.zeros((count, count)), np.zeros((count,) * 3)
        for j, i in itertools.product(range(count), repeat=2):
            distances[j, i] = np.linalg.norm(array[i] - array[j])
            for k in range(count):
                first, second = array[i] - array[j], array[k] - array[j]
                size = np.linalg.norm(first) * np.linalg.norm(second)
                angles[j, i, k] = first @ second / size if size else 0
        return distances / distances[distances > 0].mean(), angles

    def huber(difference: np.ndarray) -> np.ndarray:
        size = np.abs(difference)
        return np.where(size <= 1, size**2 / 2, size - 0.5)

    student_relations, teacher_relations = relations(student), relations(teacher)
    return (
        huber(student_relations[0] - teacher_relations[0]).mean(axis=1),
        huber(student_relations[1] - teacher_relations[1]).mean(axis=(1, 2)),
    )


def released(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """As the authors compute it."""

    def distances(item: Tensor) -> Tensor:
        squares = item.square().sum(1)
        product = item @ item.T
        found = (squares[:, None] + squares[None] - 2 * product).clamp(min=1e-12).sqrt()
        found = found * (1 - torch.eye(len(item), dtype=item.dtype))
        return found / found[found > 0].mean()

    def angles(item: Tensor) -> Tensor:
        units = F.normalize(item[None] - item[:, None], p=2, dim=2)
        return torch.bmm(units, units.transpose(1, 2)).flatten()

    return (
        F.smooth_l1_loss(distances(student), distances(teacher)),
        F.smooth_l1_loss(angles(student), angles(teacher)),
    )


def test_distances_on_a_line_by_hand() -> None:
    student = torch.tensor([[0.0], [1.0], [3.0]])
    teacher = torch.tensor([[0.0], [1.0], [2.0]])
    # Over their means: 0.5, 1.5, 1 and 0.75, 1.5, 0.75; each twice among nine.
    expected = 2 * (0.25**2 / 2 + 0.25**2 / 2) / 9
    value = relational_difference(student, teacher, **DISTANCES)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert value.item() == pytest.approx(0.0138889, abs=1e-6)


def test_angles_of_a_triangle_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    # Cosines 0, 0.7071, 0.7071 against 1, -1, 1; each twice among 27.
    far = 0.5**0.5 + 1 - 0.5
    expected = 2 * (0.5 + far + (1 - 0.5**0.5) ** 2 / 2) / 27
    value = relational_difference(student, teacher, **ANGLES)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    assert value.item() == pytest.approx(0.129630, abs=1e-6)


@pytest.mark.parametrize('equal', [False, True])
def test_equals_a_naive_loop(equal: bool) -> None:
    student, teacher = rows()
    if equal:
        student[4] = student[1]
    expected = naive(student, teacher)
    each = [
        relational_difference(student, teacher, reduction='none', **options)
        for options in (DISTANCES, ANGLES, {})
    ]
    assert each[0].tolist() == pytest.approx(expected[0].tolist())
    assert each[1].tolist() == pytest.approx(expected[1].tolist())
    assert_close(each[2], 25 * each[0] + 50 * each[1])


def test_equals_the_released_code_and_its_gradient() -> None:
    student, teacher = rows(8)
    student.requires_grad_()
    for options, term in zip(
        (DISTANCES, ANGLES), released(student, teacher), strict=True
    ):
        value = relational_difference(student, teacher, **options)
        assert_close(value, term)
        assert_close(gradient(value, student), gradient(term, student))


@pytest.mark.parametrize('options', [DISTANCES, ANGLES])
@pytest.mark.parametrize('scale', [1e-6, 7.0, 1e6])
def test_scale_rotation_and_shift_do_not_matter(
    options: dict[str, float], scale: float
) -> None:
    student, teacher = rows()
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    changed = relational_difference(
        scale * (student @ rotation + 5), scale * teacher, **options
    )
    assert_close(changed, relational_difference(student, teacher, **options))


def test_l2_norm_gives_every_row_length_one_first() -> None:
    student, teacher = rows()
    value = relational_difference(student, teacher, with_l2_norm=True)
    expected = relational_difference(F.normalize(student), F.normalize(teacher))
    assert_close(value, expected)
    assert abs(value - relational_difference(student, teacher)) > 1e-3


def test_the_mean_distance_has_a_gradient() -> None:
    student, teacher = rows()
    student.requires_grad_()
    value = relational_difference(student, teacher, **DISTANCES)
    # A larger unit changes nothing: no gradient along the embeddings themselves.
    along = (gradient(value, student) * student).sum()
    assert along.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize('count', [0, 1, 2])
@pytest.mark.parametrize('with_l2_norm', [False, True])
def test_fewer_than_three_samples_are_zero(count: int, with_l2_norm: bool) -> None:
    student, teacher = rows(count)
    value = relational_difference(
        student.requires_grad_(), teacher, with_l2_norm=with_l2_norm
    )
    assert value.item() == pytest.approx(0, abs=1e-15)
    assert gradient(value, student).norm() < 1e-12


@pytest.mark.parametrize('fill', [0.0, 3.0])
@pytest.mark.parametrize('which', ['student', 'teacher', 'both'])
def test_samples_that_are_all_equal_are_zero(fill: float, which: str) -> None:
    pair = dict(zip(('student', 'teacher'), rows(), strict=True))
    for name in pair if which == 'both' else (which,):
        pair[name] = torch.full_like(pair[name], fill)
    pair['student'].requires_grad_()
    value = relational_difference(**pair)
    assert value.item() == 0
    assert not gradient(value, pair['student']).any()


def test_equal_and_dead_samples_give_neither_infinity_nor_nan() -> None:
    student, teacher = (item.float() for item in rows())
    student[1:3] = 0
    student[4] = student[5]
    teacher[0] = teacher[3]
    student.requires_grad_()
    for with_l2_norm in (False, True):
        value = relational_difference(student, teacher, with_l2_norm=with_l2_norm)
        student_gradient = gradient(value, student)
        assert value > 0
        assert student_gradient.isfinite().all()
        assert student_gradient.abs().max() < 1e3


def test_finite_for_a_hundred_standard_deviations() -> None:
    student, teacher = 100 * torch.randn(2, 32, 256)
    student.requires_grad_()
    value = relational_difference(student, teacher)
    assert value > 0
    assert value.isfinite()
    assert gradient(value, student).isfinite().all()


def test_nothing_of_the_cube_times_the_channels_is_kept() -> None:
    student, teacher = torch.randn(64, 256, requires_grad=True), torch.randn(64, 512)
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        assert relational_difference(student, teacher) > 0
    square = 64**2
    assert max(sizes.values()) <= square * 512
    assert sum(sizes.values()) <= 6 * square * (64 + 256 + 512)


@pytest.mark.parametrize(
    'options',
    [
        {'distance_weight': 2.0, 'angle_weight': 3.0},
        {'distance_weight': 0, 'with_l2_norm': True},
    ],
)
def test_module_hands_its_options_on(options: dict[str, Any]) -> None:
    student, teacher = rows()
    value = RKDLoss(loss_weight=2.0, **options)(student, teacher)
    assert_close(value, 2 * relational_difference(student, teacher, **options))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(distance_weight=-1), 'distance_weight must be a finite number >= 0'),
        (dict(angle_weight=None), 'angle_weight must be a finite number >= 0'),
        (
            dict(distance_weight=0, angle_weight=0),
            'both 0: there is nothing to',
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RKDLoss(**options)
    with pytest.raises(ConfigError, match=message):
        relational_difference(*rows(), **options)
