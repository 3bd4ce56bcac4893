"""Channel-wise distillation: the distribution of a channel over the map."""

import math

import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import CWDLoss, channel_wise_divergence

from ._cases import LossCase, features
from ._common import gradient

CASES = [
    LossCase('cwd', CWDLoss, features(3, 2, 4), {'temperature': 2.0}),
]


def maps(images: int = 2) -> tuple[Tensor, Tensor]:
    student, teacher = 2 * torch.randn(2, images, 3, 4, 5, dtype=torch.float64)
    return student, teacher


@pytest.mark.parametrize(('temperature', 'expected'), [(1, 0.130812), (4, 0.149458)])
def test_two_pixels_by_hand(temperature: float, expected: float) -> None:
    teacher = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    student = torch.zeros(1, 1, 1, 2)
    value = channel_wise_divergence(student, teacher, temperature=temperature)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('temperature', [0.5, 1, 4])
def test_equals_scipy(temperature: float) -> None:
    student, teacher = maps()
    probs = [
        softmax(item.numpy().reshape(2, 3, 20) / temperature, axis=2)
        for item in (student, teacher)
    ]
    expected = temperature**2 * rel_entr(probs[1], probs[0]).sum(2).mean(1)
    value = channel_wise_divergence(
        student, teacher, temperature=temperature, reduction='none'
    )
    assert_close(value, torch.from_numpy(expected))


def test_gradient_formula() -> None:
    student, teacher = maps()
    student.requires_grad_()
    value = channel_wise_divergence(student, teacher, temperature=3.0)
    student_probs, teacher_probs = (
        (item.detach() / 3).flatten(2).softmax(2).view_as(item)
        for item in (student, teacher)
    )
    assert_close(
        gradient(value, student), 3 * (student_probs - teacher_probs) / (2 * 3)
    )


def test_a_constant_added_to_a_channel_does_not_matter() -> None:
    student, teacher = maps()
    value = channel_wise_divergence(student, teacher)
    shift = 9 * torch.randn(2, 3, 1, 1, dtype=torch.float64)
    assert_close(channel_wise_divergence(student + shift, teacher), value)
    assert_close(channel_wise_divergence(student, teacher - shift), value)


def test_order_of_pixels_does_not_matter_if_it_is_the_same() -> None:
    student, teacher = maps()
    value = channel_wise_divergence(student, teacher)
    flipped = channel_wise_divergence(student.flip(2, 3), teacher.flip(2, 3))
    assert_close(flipped, value)
    assert (channel_wise_divergence(student.flip(3), teacher) - value).abs() > 0.01


def test_each_channel_counts_the_same() -> None:
    student, teacher = maps()
    alone = [
        channel_wise_divergence(student[:, [channel]], teacher[:, [channel]])
        for channel in range(3)
    ]
    assert_close(channel_wise_divergence(student, teacher), torch.stack(alone).mean())


def test_the_teacher_is_the_target() -> None:
    student, teacher = maps()
    swapped = channel_wise_divergence(teacher, student)
    assert (channel_wise_divergence(student, teacher) - swapped).abs() > 0.01


def test_a_single_pixel_has_no_distribution() -> None:
    student = torch.randn(3, 4, 1, 1, requires_grad=True)
    value = channel_wise_divergence(student, torch.randn(3, 4, 1, 1))
    assert value.item() == 0
    assert not gradient(value, student).any()


@pytest.mark.parametrize('temperature', [0.1, 1.0])
def test_finite_for_logits_of_a_hundred_deviations(temperature: float) -> None:
    student, teacher = (100 * item.float() for item in maps())
    student.requires_grad_()
    value = channel_wise_divergence(student, teacher, temperature=temperature)
    assert value.isfinite() and value > 0
    assert gradient(value, student).isfinite().all()


# Masks of pixels


def pixel_mask() -> Tensor:
    """Of three images: the left two columns, nothing, everything."""
    mask = torch.ones(3, 4, 5)
    mask[0, :, 2:] = 0
    mask[1] = 0
    return mask


def by_hand(student: Tensor, teacher: Tensor) -> list[float]:
    """What remains of each image, cropped."""
    first = channel_wise_divergence(student[:1, :, :, :2], teacher[:1, :, :, :2])
    third = channel_wise_divergence(student[2:], teacher[2:])
    return [0.4 * first.item(), 0.0, third.item()]


def test_dropped_pixels_get_no_probability() -> None:
    student, teacher = maps(3)
    each = by_hand(student, teacher)
    for reduction, expected in (
        ('none', each),
        ('sum', sum(each)),
        ('mean', sum(each) / 1.4),
    ):
        value = channel_wise_divergence(
            student, teacher, mask=pixel_mask(), reduction=reduction
        )
        assert value.tolist() == pytest.approx(expected)


def test_a_mask_that_drops_nothing_changes_nothing() -> None:
    student, teacher = maps(3)
    student.requires_grad_()
    plain = channel_wise_divergence(student, teacher)
    plain_gradient = gradient(plain, student)
    ones = torch.ones(3, 4, 5)
    for options in ({}, {'avg_factor': ones.sum()}, {'avg_factor': 60.0}):
        value = channel_wise_divergence(student, teacher, mask=ones, **options)
        assert_close(value, plain)
        assert_close(gradient(value, student), plain_gradient)


@pytest.mark.parametrize('bad', [math.inf, -math.inf, math.nan])
def test_what_dropped_pixels_hold_does_not_matter(bad: float) -> None:
    student, teacher = maps(3)
    mask = pixel_mask()
    value = channel_wise_divergence(student, teacher, mask=mask)
    dropped = (mask == 0)[:, None].expand_as(student)
    student[dropped] = bad
    teacher[dropped] = bad
    student.requires_grad_()
    changed_value = channel_wise_divergence(student, teacher, mask=mask)
    assert torch.equal(changed_value, value)
    changed_gradient = gradient(changed_value, student)
    assert not changed_gradient[dropped].any()
    assert changed_gradient.isfinite().all() and changed_gradient.any()


def test_gradient_under_a_mask_of_pixels() -> None:
    student, teacher = (item[:, :1] for item in maps(3))
    assert torch.autograd.gradcheck(
        lambda item: channel_wise_divergence(item, teacher, mask=pixel_mask()),
        (student.requires_grad_(),),
    )


def test_no_nan_on_the_way_back_from_an_image_that_keeps_nothing() -> None:
    student, teacher = maps(3)
    with torch.autograd.set_detect_anomaly(True):
        value = channel_wise_divergence(
            student.requires_grad_(), teacher, mask=pixel_mask()
        )
        assert gradient(value, student).isfinite().all()


@pytest.mark.parametrize('split', [0, 1, 2])
def test_ranks_that_count_pixels_average_to_the_whole(split: int) -> None:
    student, teacher = maps(3)
    mask = pixel_mask()
    shares = [
        channel_wise_divergence(
            student[part], teacher[part], mask=mask[part], avg_factor=mask.sum() / 2
        )
        for part in (slice(None, split), slice(split, None))
    ]
    value = channel_wise_divergence(student, teacher, mask=mask)
    assert_close(torch.stack(shares).mean(), value)


@pytest.mark.parametrize('avg_factor', [None, 0.0, torch.tensor(0.0)])
def test_all_pixels_dropped_give_zero_with_a_graph(
    avg_factor: float | Tensor | None,
) -> None:
    student, teacher = maps()
    student.requires_grad_()
    value = channel_wise_divergence(
        student, teacher, mask=torch.zeros(2, 4, 5), avg_factor=avg_factor
    )
    assert value.item() == 0
    assert not gradient(value, student).any()


@pytest.mark.parametrize('shape', [(2, 5, 4), (2, 1, 1), (1, 4, 5)])
def test_masks_of_pixels_must_fit(shape: tuple[int, ...]) -> None:
    message = r'mask must be \(2, 4, 5\), one number per pixel, got'
    with pytest.raises(ShapeError, match=message):
        CWDLoss()(*maps(), mask=torch.ones(shape))


# Module


def test_module_hands_its_temperature_on() -> None:
    student, teacher = maps()
    value = CWDLoss(loss_weight=3.0, temperature=4.0)(student, teacher)
    expected = 3 * channel_wise_divergence(student, teacher, temperature=4.0)
    assert_close(value, expected)


@pytest.mark.parametrize('temperature', [0, -1, math.inf, 'warm'])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    message = 'temperature must be a finite number > 0'
    with pytest.raises(ConfigError, match=message):
        CWDLoss(temperature=temperature)
    with pytest.raises(ConfigError, match=message):
        channel_wise_divergence(*maps(), temperature=temperature)


def test_other_channels_ask_for_an_adapter() -> None:
    message = r"'ConvAdapter', student_channels=3, teacher_channels=6\)"
    with pytest.raises(ShapeError, match=message):
        CWDLoss()(maps()[0], torch.zeros(2, 6, 4, 5))
