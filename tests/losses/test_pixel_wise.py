"""Pixel-wise distillation: the divergence of the classes of each pixel."""

import math

import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import (
    KDLoss,
    LogitL2Loss,
    LossContext,
    PixelWiseLoss,
    WeightedClassKDLoss,
    logit_l2,
    pixel_wise_divergence,
    softened_divergence,
    weighted_class_kd,
)

from ._cases import LossCase, features
from ._common import gradient

CASES = [
    LossCase(
        'pixel_wise',
        PixelWiseLoss,
        features(3, 1, 1),
        {'temperature': 2.0},
        mask_sides=(1, 1),
    ),
]


def maps() -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    return student, teacher


def rows(item: Tensor) -> Tensor:
    """Pixel by pixel, in the order of the image."""
    return torch.stack(
        [image[:, i, j] for image in item for i in range(3) for j in range(4)]
    )


def test_one_pixel_by_hand() -> None:
    teacher = torch.tensor([0.75, 0.25], dtype=torch.float64).log().view(1, 2, 1, 1)
    student = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    value = pixel_wise_divergence(student, teacher)
    assert value.item() == pytest.approx(expected)
    assert value.item() == pytest.approx(0.130812, abs=1e-6)


def test_equals_scipy() -> None:
    student, teacher = maps()
    probs = [softmax(item.numpy() / 2, axis=1) for item in (student, teacher)]
    expected = 4 * rel_entr(probs[1], probs[0]).sum(1)  # (N, H, W)
    value = pixel_wise_divergence(student, teacher, temperature=2.0, reduction='none')
    assert_close(value, torch.from_numpy(expected).flatten())
    mean = pixel_wise_divergence(student, teacher, temperature=2.0)
    assert mean.item() == pytest.approx(expected.mean())


def test_gradient_is_that_of_the_cross_entropy_of_the_released_code() -> None:
    """Which sums over the pixels of all images and divides by those of one."""
    student, teacher = maps()
    student.requires_grad_()
    released = -(teacher.softmax(1) * student.log_softmax(1)).sum() / (3 * 4)
    value = PixelWiseLoss(sum_over_batch=True)(student, teacher)
    assert_close(gradient(value, student), gradient(released, student))
    plain = PixelWiseLoss()(student, teacher)
    assert_close(value, 2 * plain)  # images


def test_size_and_batch_do_not_matter() -> None:
    student, teacher = maps()
    value = pixel_wise_divergence(student, teacher)
    tiled = [item.repeat(3, 1, 2, 5) for item in (student, teacher)]
    assert_close(pixel_wise_divergence(*tiled), value)


def test_ignored_pixels_change_nothing() -> None:
    student, teacher = maps()
    mask = (torch.rand(2, 3, 4) > 0.4).double()
    kept = mask.flatten().bool()
    each = pixel_wise_divergence(student, teacher, reduction='none')
    value = pixel_wise_divergence(student, teacher, mask=mask)
    assert_close(value, each[kept].mean())
    noisy = torch.where(mask[:, None] > 0, teacher, torch.nan)
    assert_close(pixel_wise_divergence(student, noisy, mask=mask), value)


def test_weights_go_by_the_label_of_the_pixel() -> None:
    student, teacher = maps()
    target = torch.randint(0, 5, (2, 3, 4))
    weights = [0.0, 1.0, 2.0, 0.5, 3.0]
    each = pixel_wise_divergence(student, teacher, reduction='none')
    factors = torch.tensor([weights[label] for label in target.flatten().tolist()])
    value = PixelWiseLoss(class_weights=weights)(student, teacher, target=target)
    assert_close(value, (factors * each).mean())


@pytest.mark.parametrize(
    ('loss', 'function', 'options'),
    [
        (KDLoss(temperature=3.0), softened_divergence, {'temperature': 3.0}),
        (LogitL2Loss(), logit_l2, {}),
        (WeightedClassKDLoss(), weighted_class_kd, {}),
    ],
)
def test_other_class_losses_take_maps_as_rows(loss, function, options) -> None:
    student, teacher = maps()
    mask = (torch.rand(2, 3, 4) > 0.4).double()
    value = loss(student, teacher, mask=mask)
    expected = function(rows(student), rows(teacher), mask=mask.flatten(), **options)
    assert_close(value, expected)


def test_without_a_background_all_classes_weigh_the_same() -> None:
    student, teacher = maps()
    context = LossContext(activation='softmax')
    value = WeightedClassKDLoss()(student, teacher, context=context)
    entropy = -(teacher.softmax(1) * student.log_softmax(1)).sum(1).mean()
    assert_close(value, entropy)
    with pytest.raises(ConfigError, match='background_weight: these logits have no'):
        WeightedClassKDLoss(background_weight=2.0)(student, teacher, context=context)


def test_sigmoid_where_the_view_says_so_or_one_column_means_yes() -> None:
    student, teacher = maps()
    value = PixelWiseLoss()(student, teacher, context=LossContext(activation='sigmoid'))
    assert_close(value, pixel_wise_divergence(student, teacher, use_sigmoid=True))
    one = [item[:, :1] for item in (student, teacher)]
    assert_close(PixelWiseLoss()(*one), pixel_wise_divergence(*one, use_sigmoid=True))


def test_swapping_student_and_teacher_changes_it() -> None:
    student, teacher = maps()
    assert not torch.isclose(
        pixel_wise_divergence(student, teacher), pixel_wise_divergence(teacher, student)
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(temperature=0), 'temperature must be a finite number > 0'),
        (dict(class_weights=[1, -1]), r'class_weights\[1\] must be a finite number >='),
        (dict(class_weights=2.0), 'class_weights must be a list of numbers'),
        (
            dict(sum_over_batch=True, reduction='sum'),
            "sum_over_batch multiplies the mean: .* got 'sum'",
        ),
    ],
)
def test_impossible_options_are_refused(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        PixelWiseLoss(**options)


@pytest.mark.parametrize(
    ('inputs', 'message'),
    [
        (dict(student=torch.zeros(2, 4, 3, 4)), 'differ in classes'),
        (dict(student=torch.zeros(2, 5, 6, 8)), "differ in height, width.*'ResizeAdap"),
        (dict(student=torch.zeros(24, 5)), r'student must be \(N, K, H, W\)'),
        (dict(mask=torch.ones(2)), r'mask must be \(2, 3, 4\), one number per pixel'),
        (dict(), r'need the labels \(2, 3, 4\) of the pixels as target, got none'),
        (dict(target=torch.zeros(2, 6, 8).long()), r'as target, got \(2, 6, 8\)'),
        (dict(weights=[1.0, 2.0]), 'class_weights must have 5 entries, one a class'),
    ],
)
def test_what_does_not_fit_is_refused(inputs, message) -> None:
    given = dict(student=torch.zeros(2, 5, 3, 4), teacher=torch.zeros(2, 5, 3, 4))
    weights = inputs.pop('weights', [1.0] * 5)
    with pytest.raises(ShapeError, match=message):
        PixelWiseLoss(class_weights=weights)(**{**given, **inputs})
