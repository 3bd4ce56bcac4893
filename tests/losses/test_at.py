"""Attention transfer: where a map is active, whatever its channels."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import ATLoss, attention_transfer

from ._cases import ANY_CHANNELS, LossCase, features
from ._common import gradient, maps

ANOTHER_MAXIMUM = {
    'test_behind_a_layer_under_autocast': (
        'in bfloat16 another channel may be the maximum: the gradient goes there'
    ),
}
CASES = [
    LossCase('at', ATLoss, features(3, 2, 4), opt_outs=ANY_CHANNELS),
    LossCase(
        'at-code',
        ATLoss,
        features(3, 2, 4),
        {'mode': 'code', 'p': 4},
        opt_outs=ANY_CHANNELS,
    ),
    LossCase(
        'at-max',
        ATLoss,
        features(3, 2, 4),
        {'mode': 'squared', 'form': 'max', 'p': 1},
        opt_outs=ANY_CHANNELS | ANOTHER_MAXIMUM,
    ),
]


def attention(feature: Tensor, p: float, form: str) -> np.ndarray:
    """Of one image (C, H, W), pixel by pixel, by numpy."""
    channels, height, width = feature.shape
    values = np.zeros(height * width)
    for row in range(height):
        for column in range(width):
            powers = [
                abs(feature[channel, row, column].item()) ** p
                for channel in range(channels)
            ]
            values[row * width + column] = {'sum': sum, 'max': max}[form](powers)
    return values / np.linalg.norm(values)


@pytest.mark.parametrize(
    ('mode', 'expected'), [('paper', math.sqrt(2)), ('code', 1.0), ('squared', 2.0)]
)
def test_two_pixels_by_hand(mode: str, expected: float) -> None:
    student = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    teacher = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    value = attention_transfer(student, teacher, mode=mode)
    assert value.item() == pytest.approx(expected)


@pytest.mark.parametrize('form', ['sum', 'max'])
@pytest.mark.parametrize('p', [1, 1.5, 2, 4])
def test_equals_a_naive_loop(p: float, form: str) -> None:
    student, teacher = maps()
    expected = [
        attention(student_item, p, form) - attention(teacher_item, p, form)
        for student_item, teacher_item in zip(student, teacher, strict=True)
    ]
    for mode, reduce in (
        ('paper', np.linalg.norm),
        ('code', lambda item: np.mean(item**2)),
        ('squared', lambda item: np.sum(item**2)),
    ):
        value = attention_transfer(
            student, teacher, p=p, form=form, mode=mode, reduction='none'
        )
        assert value.tolist() == pytest.approx([reduce(item) for item in expected])


def test_equals_the_released_code() -> None:
    student, teacher = maps()
    student.requires_grad_()

    def at(feature: Tensor) -> Tensor:
        return torch.nn.functional.normalize(feature.pow(2).mean(1).flatten(1))

    released = (at(student) - at(teacher)).pow(2).mean()
    value = attention_transfer(student, teacher, mode='code')
    assert_close(value, released)
    assert_close(gradient(value, student), gradient(released, student))


@pytest.mark.parametrize('form', ['sum', 'max'])
def test_scale_sign_and_order_of_channels_do_not_matter(form: str) -> None:
    student, teacher = maps()
    value = attention_transfer(student, teacher, form=form)
    changed = -7 * student[:, [2, 0, 1]]
    assert_close(attention_transfer(changed, teacher, form=form), value)
    doubled = torch.cat([student, student], dim=1)
    assert_close(attention_transfer(doubled, teacher, form=form), value)


def test_pixels_do_matter() -> None:
    student, _ = maps()
    assert attention_transfer(student, student.flip(3)) > 0.1


def test_only_the_code_form_falls_with_the_size_of_the_map() -> None:
    student, teacher = maps()
    tiled = student.repeat(1, 1, 2, 3), teacher.repeat(1, 1, 2, 3)
    for mode, factor in (('paper', 1), ('squared', 1), ('code', 6)):
        value = attention_transfer(student, teacher, mode=mode)
        assert_close(factor * attention_transfer(*tiled, mode=mode), value)


@pytest.mark.parametrize('form', ['sum', 'max'])
@pytest.mark.parametrize('p', [1, 2, 8])
@pytest.mark.parametrize('scale', [1e-5, 100, 1e15])
def test_powers_neither_overflow_nor_vanish(p: float, form: str, scale: float) -> None:
    student, teacher = (item.float() for item in maps())
    value = attention_transfer(student, teacher, p=p, form=form)
    large = (scale * student).requires_grad_()
    large_value = attention_transfer(large, scale * teacher, p=p, form=form)
    assert_close(large_value, value)
    large_gradient = gradient(large_value, large)
    assert large_gradient.isfinite().all() and large_gradient.any()


@pytest.mark.parametrize('mode', ['paper', 'code', 'squared'])
@pytest.mark.parametrize('p', [1, 1.5, 2])
@pytest.mark.parametrize('scale', [0, 1e-7])
def test_dead_maps_attend_to_nothing(scale: float, p: float, mode: str) -> None:
    student, teacher = maps()
    student[0] *= scale
    student.requires_grad_()
    value = attention_transfer(student, teacher, p=p, mode=mode, reduction='none')
    expected = {'paper': 1, 'code': 1 / 20, 'squared': 1}[mode]
    assert value[0].item() == pytest.approx(expected)  # the teacher's q alone
    student_gradient = gradient(value.sum(), student)
    assert student_gradient.isfinite().all()
    assert not student_gradient[0].any() and student_gradient[1].any()
    both = attention_transfer(0 * student, 0 * teacher, p=p, mode=mode)
    assert both.item() == 0
    assert not gradient(both, student).any()


def test_module_hands_its_options_on() -> None:
    student, teacher = maps()
    options = dict(p=3.0, form='max', mode='code')
    value = ATLoss(loss_weight=2.0, **options)(student, teacher)
    assert_close(value, 2 * attention_transfer(student, teacher, **options))
    assert not torch.allclose(value, ATLoss(loss_weight=2.0)(student, teacher))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(p=0.5), 'p must be a finite number >= 1, got 0.5'),
        (dict(form='mean'), "form must be 'sum' or 'max', got 'mean'"),
        (dict(mode='l2'), "mode must be 'paper', 'code' or 'squared', got 'l2'"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ATLoss(**options)
    with pytest.raises(ConfigError, match=message):
        attention_transfer(*maps(), **options)


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        ((2, 6, 8, 10), r"differ in batch size, height or width .*'ResizeAdapter'"),
        ((3, 6, 4, 5), 'differ in batch size, height or width'),
        ((2, 6), r'teacher must be \(N, C, H, W\), got \(2, 6\)'),
    ],
)
def test_maps_that_do_not_fit_are_refused(
    teacher: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        ATLoss()(maps()[0], torch.zeros(teacher))
