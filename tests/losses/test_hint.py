"""Hint loss: mean distance between features, whatever their size."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import HintLoss, hint_distance

from ._cases import LossCase, features
from ._common import gradient

CASES = [
    LossCase('hint-maps', HintLoss, features(3, 4, 5)),
    LossCase('hint-vectors', HintLoss, features(6)),
    LossCase('hint-l1', HintLoss, features(3, 2, 2), {'norm': 'l1'}),
]


def test_two_samples_by_hand() -> None:
    student = torch.tensor([[1.0, -2.0], [0.0, 3.0]]).view(2, 1, 1, 2)
    teacher = torch.zeros(2, 1, 1, 2)
    assert hint_distance(student, teacher, reduction='none').tolist() == [2.5, 4.5]
    assert hint_distance(student, teacher).item() == pytest.approx(3.5)
    l1 = hint_distance(student, teacher, norm='l1', reduction='none')
    assert l1.tolist() == [1.5, 1.5]


@pytest.mark.parametrize('shape', [(3, 4, 5, 2), (6, 7)])
def test_equals_numpy(shape: tuple[int, ...]) -> None:
    student, teacher = torch.randn(2, *shape)
    difference = student.numpy() - teacher.numpy()
    squared = torch.tensor(np.mean(difference**2))
    assert_close(hint_distance(student, teacher), squared)
    absolute = torch.tensor(np.mean(np.abs(difference)))
    assert_close(hint_distance(student, teacher, norm='l1'), absolute)


def test_the_size_of_the_map_does_not_matter() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    tiled = hint_distance(student.repeat(1, 2, 3, 5), teacher.repeat(1, 2, 3, 5))
    assert_close(tiled, hint_distance(student, teacher))


def test_each_sample_counts_the_same() -> None:
    student, teacher = torch.randn(2, 3, 2, 4, 4)
    alone = [hint_distance(student[[i]], teacher[[i]]) for i in range(3)]
    assert_close(hint_distance(student, teacher, reduction='none'), torch.stack(alone))


def test_gradient_formulas() -> None:
    student = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    difference = (student - teacher).detach()
    l2 = gradient(hint_distance(student, teacher), student)
    assert_close(l2, 2 * difference / difference.numel())
    l1 = gradient(hint_distance(student, teacher, norm='l1'), student)
    assert_close(l1, difference.sign() / difference.numel())


def test_channels_last_maps_give_the_same() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 4)
    value = hint_distance(student, teacher)
    student = student.to(memory_format=torch.channels_last)
    assert_close(hint_distance(student, teacher), value)


def test_module_hands_its_norm_on() -> None:
    student, teacher = torch.full((2, 5), 3.0), torch.zeros(2, 5)
    assert HintLoss(loss_weight=0.5)(student, teacher).item() == 4.5
    assert HintLoss(loss_weight=0.5, norm='l1')(student, teacher).item() == 1.5


def test_unknown_norms_are_refused() -> None:
    with pytest.raises(ConfigError, match="norm must be 'l2' or 'l1', got 'l3'"):
        HintLoss(norm='l3')
    with pytest.raises(ConfigError, match="norm must be 'l2' or 'l1'"):
        hint_distance(torch.zeros(1, 2), torch.zeros(1, 2), norm='L2')


@pytest.mark.parametrize(
    ('student', 'teacher', 'message'),
    [
        (
            (2, 256, 20, 20),
            (2, 512, 20, 20),
            r'differ in channels\. Add to this pair: adapter=dict\(type='
            r"'ConvAdapter', student_channels=256, teacher_channels=512\)",
        ),
        ((2, 8), (2, 4), r"'LinearAdapter', student_channels=8, teacher_channels=4\)"),
        ((2, 8, 4, 4), (2, 8, 8, 8), r"height, width\..*type='ResizeAdapter'\)"),
        ((2, 8, 4, 4), (3, 8, 4, 4), r'differ in batch size\..*same samples'),
        ((2, 8), (2, 8, 1, 1), 'differ in their number of axes'),
        ((2, 8, 4), (2, 8, 4), r'student must be \(N, C, H, W\) or \(N, C\)'),
    ],
)
def test_shapes_that_differ_are_refused_with_the_remedy(
    student: tuple[int, ...], teacher: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        HintLoss()(torch.zeros(student), torch.zeros(teacher))
