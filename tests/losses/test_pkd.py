"""Pearson distillation: features standardised over the batch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ShapeError
from kd_plugins.losses import PKDLoss, standardized_distance

from ._cases import LossCase, features
from ._common import gradient

OVER_THE_BATCH = {
    'test_repeating_the_batch_leaves_the_mean': (
        'statistics over the batch, whose deviation divides by n - 1, as in the paper'
    ),
    'test_ranks_average_to_the_whole': (
        'statistics over the batch of a process, as in the paper'
    ),
}
CASES = [
    LossCase('pkd', PKDLoss, features(3, 2, 4), opt_outs=OVER_THE_BATCH),
    LossCase('pkd-vectors', PKDLoss, features(6), opt_outs=OVER_THE_BATCH),
]


def maps() -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 3, 4, 2, 5, dtype=torch.float64)
    return student, teacher


def channels(feature: Tensor) -> np.ndarray:
    """(C, N H W), by numpy."""
    return np.moveaxis(feature.detach().numpy(), 1, 0).reshape(feature.shape[1], -1)


def test_three_values_by_hand() -> None:
    student = torch.tensor([1.0, 2.0, 3.0]).view(1, 1, 1, 3)
    value = standardized_distance(student, student.flip(3))
    assert value.item() == pytest.approx(1.333331, abs=1e-6)


def test_equals_pearsons_r() -> None:
    student, teacher = maps()
    r = [
        np.corrcoef(student_channel, teacher_channel)[0, 1]
        for student_channel, teacher_channel in zip(
            channels(student), channels(teacher), strict=True
        )
    ]
    value = standardized_distance(student, teacher)
    expected = (1 - np.mean(r)) * 29 / 30
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_equals_the_released_code() -> None:
    student, teacher = maps()
    student.requires_grad_()

    def norm(feature: Tensor) -> Tensor:
        n, c, h, w = feature.shape
        feature = feature.permute(1, 0, 2, 3).reshape(c, -1)
        mean = feature.mean(dim=-1, keepdim=True)
        std = feature.std(dim=-1, keepdim=True)
        feature = (feature - mean) / (std + 1e-6)
        return feature.reshape(c, n, h, w).permute(1, 0, 2, 3)

    released = F.mse_loss(norm(student), norm(teacher)) / 2
    value = standardized_distance(student, teacher)
    assert_close(value, released)
    assert_close(gradient(value, student), gradient(released, student))


def test_scale_and_shift_of_a_channel_do_not_matter() -> None:
    student, teacher = maps()
    scale = torch.rand(4, 1, 1, dtype=torch.float64) + 0.5
    shift = torch.randn(4, 1, 1, dtype=torch.float64)
    value = standardized_distance(student, teacher)
    changed = standardized_distance(scale * student + shift, teacher)
    assert_close(changed, value, rtol=1e-5, atol=0)
    affine = standardized_distance(scale * teacher + shift, teacher)
    assert affine.item() == pytest.approx(0, abs=1e-9)
    opposite = standardized_distance(shift - scale * teacher, teacher)
    assert opposite.item() == pytest.approx(2 * 29 / 30, rel=1e-4)


def test_the_scale_of_a_pixel_does_matter() -> None:
    student, teacher = maps()
    scaled = student * torch.tensor([1.0, 1, 1, 1, 9], dtype=torch.float64)
    value = standardized_distance(student, teacher)
    assert (standardized_distance(scaled, teacher) - value).abs() > 0.01


def test_the_size_of_the_map_matters_by_n_minus_1_alone() -> None:
    student, teacher = maps()
    tiled = standardized_distance(
        student.repeat(1, 1, 2, 3), teacher.repeat(1, 1, 2, 3)
    )
    value = standardized_distance(student, teacher)
    assert_close(tiled * 180 / 179, value * 30 / 29, rtol=1e-5, atol=0)


def test_statistics_are_those_of_the_batch() -> None:
    student, teacher = maps()
    each = standardized_distance(student, teacher, reduction='none')
    alone = standardized_distance(student[:1], teacher[:1], reduction='none')
    assert (each[0] - alone[0]).abs() > 1e-3


def test_vectors_are_maps_of_one_pixel() -> None:
    student, teacher = torch.randn(2, 8, 5)
    value = standardized_distance(student, teacher, reduction='none')
    as_maps = standardized_distance(
        student[..., None, None], teacher[..., None, None], reduction='none'
    )
    assert_close(value, as_maps)


# Edges


def test_a_channel_without_deviation_becomes_zero() -> None:
    student, teacher = (item.float() for item in maps())
    student[:, 1] = 0
    teacher[:, 1:3] = 7
    student.requires_grad_()
    value = standardized_distance(student, teacher, reduction='none')
    # Of the second channel both are 0; of the third the teacher alone.
    channel = channels(student)[2]
    kept = standardized_distance(
        student[:, [0, 3]], teacher[:, [0, 3]], reduction='none'
    )
    standardized = (channel - channel.mean()) / channel.std(ddof=1)
    third = torch.from_numpy(standardized).view(3, -1).square().mean(1) / 2
    assert_close(value, (2 * kept + third) / 4, rtol=1e-4, atol=1e-4)
    student_gradient = gradient(value.mean(), student)
    assert student_gradient.isfinite().all()


def test_a_dead_channel_of_the_student_is_pulled_by_one_over_eps() -> None:
    student, teacher = maps()
    student[:, 1] = 0
    student.requires_grad_()
    student_gradient = gradient(standardized_distance(student, teacher), student)
    assert student_gradient.isfinite().all()
    pulled = torch.from_numpy(channels(teacher)[1])
    expected = -(pulled - pulled.mean()) / pulled.std() / (4 * 30) / 1e-6
    assert_close(student_gradient[:, 1].flatten(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize('mask', [None, torch.ones(1), torch.ones(1, 1, 1)])
def test_a_single_value_a_channel_gives_zero_with_a_graph(mask: Tensor | None) -> None:
    student = torch.randn(1, 6, 1, 1, requires_grad=True)
    value = standardized_distance(student, torch.randn(1, 6, 1, 1), mask=mask)
    assert value.item() == 0
    assert not gradient(value, student).any()


def test_a_single_image_kept_of_one_pixel_gives_zero() -> None:
    student = torch.randn(3, 6, 1, 1, requires_grad=True)
    mask = torch.tensor([0.0, 1.0, 0.0])
    value = standardized_distance(student, torch.randn(3, 6, 1, 1), mask=mask)
    assert value.item() == 0
    assert not gradient(value, student).any()


def test_finite_for_features_of_a_hundred_deviations() -> None:
    student, teacher = (item.float() for item in maps())
    value = standardized_distance(student, teacher)
    large = (100 * student + 1000).requires_grad_()
    large_value = standardized_distance(large, 100 * teacher)
    assert_close(large_value, value, rtol=1e-4, atol=0)
    assert gradient(large_value, large).isfinite().all()


# Masks of pixels


@pytest.mark.parametrize('bad', [0.0, math.inf, math.nan])
def test_dropped_pixels_enter_no_statistics(bad: float) -> None:
    student, teacher = maps()
    mask = torch.ones(3, 2, 5)
    mask[:, :, 3:] = 0
    expected = standardized_distance(student[..., :3], teacher[..., :3])
    student[..., 3:] = bad
    teacher[..., 3:] = bad
    student.requires_grad_()
    value = standardized_distance(student, teacher, mask=mask)
    assert_close(value, expected)
    student_gradient = gradient(value, student)
    assert student_gradient.isfinite().all() and student_gradient[..., :3].any()
    assert not student_gradient[..., 3:].any()


def test_with_a_mask_of_pixels_a_pixel_is_a_sample() -> None:
    student, teacher = maps()
    each = standardized_distance(
        student, teacher, mask=torch.ones(3, 2, 5), reduction='none'
    )
    images = standardized_distance(student, teacher, reduction='none')
    assert_close(each.view(3, 10).mean(1), images)


def test_masks_of_pixels_must_fit() -> None:
    message = r'mask must be \(3, 2, 5\), one number per pixel, got \(3, 5, 2\)'
    with pytest.raises(ShapeError, match=message):
        PKDLoss()(*maps(), mask=torch.ones(3, 5, 2))


def test_other_channels_ask_for_an_adapter() -> None:
    message = r"'ConvAdapter', student_channels=4, teacher_channels=6\)"
    with pytest.raises(ShapeError, match=message):
        PKDLoss()(maps()[0], torch.zeros(3, 6, 2, 5))
