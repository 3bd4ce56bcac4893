"""Samples whose relations are compared: what becomes of rows and of maps."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import CCLoss, DarkRankLoss, RKDLoss, SPLoss
from kd_plugins.losses._samples import SampleLoss, Samples

from ._common import backward, maps

LOSSES = (SPLoss, CCLoss, RKDLoss, DarkRankLoss)


def samples(
    loss: SampleLoss,
    student: Tensor,
    teacher: Tensor,
    target: Tensor | None = None,
    mask: Tensor | None = None,
    avg_factor: float | None = None,
) -> Samples:
    return loss.samples(student, teacher, target, mask, avg_factor)


# What a sample is


def test_rows_are_samples_as_they_are() -> None:
    student, teacher, mask = torch.randn(5, 3), torch.randn(5, 6), torch.ones(5)
    found = samples(RKDLoss(), student, teacher, mask=mask, avg_factor=7.0)
    assert torch.equal(found.student, student)
    assert torch.equal(found.teacher, teacher)
    assert found.mask is mask
    assert float(found.avg_factor) == 7


def test_an_image_is_its_mean_or_all_its_numbers() -> None:
    student, teacher = maps()
    found = samples(CCLoss(), student, teacher)
    assert_close(found.student, torch.tensor(student.numpy().mean(axis=(2, 3))))
    assert_close(found.teacher, torch.tensor(teacher.numpy().mean(axis=(2, 3))))
    found = samples(SPLoss(), student, teacher)
    assert torch.equal(found.student, student.reshape(2, -1))
    assert torch.equal(found.teacher, teacher.reshape(2, -1))


@pytest.mark.parametrize('loss', LOSSES)
def test_maps_of_an_image_may_have_another_size(loss: type[SampleLoss]) -> None:
    (student, _), (_, teacher) = maps(4, 5, images=4), maps(2, 7, images=4)
    assert loss()(student, teacher) > 0


def test_an_image_without_the_pixels_that_are_left_out() -> None:
    student, teacher = maps(images=3)
    mask = (torch.rand(3, 4, 5) < 0.5).float()
    mask[1] = 0
    for item in (student, teacher):
        item.permute(0, 2, 3, 1)[mask == 0] = math.nan
    found = samples(CCLoss(), student, teacher, mask=mask)
    expected = np.nanmean(student[[0, 2]].numpy(), axis=(2, 3))
    assert_close(found.student[[0, 2]], torch.tensor(expected))
    assert found.mask.tolist() == [1, 0, 1]
    whole = samples(SPLoss(), student, teacher, mask=mask)
    assert torch.equal(whole.student, student.nan_to_num(0).flatten(1))
    assert whole.mask.tolist() == [1, 0, 1]


def test_a_pixel_is_one_of_any_image() -> None:
    student, teacher = maps()
    mask = torch.ones(2, 4, 5)
    mask[0, 1] = 0
    actual = samples(SPLoss(sample='pixel'), student, teacher, mask=mask)
    for image, row, column in ((0, 0, 0), (0, 2, 3), (1, 3, 4)):
        index = (image * 4 + row) * 5 + column
        assert torch.equal(actual.student[index], student[image, :, row, column])
        assert torch.equal(actual.teacher[index], teacher[image, :, row, column])
    assert len(actual.student) == 40
    assert actual.mask.tolist() == [1] * 5 + [0] * 5 + [1] * 30
    of_images = torch.tensor([1.0, 0.0])
    found = samples(SPLoss(sample='pixel'), student, teacher, mask=of_images)
    assert found.mask.tolist() == [1] * 20 + [0] * 20


def test_a_class_is_the_mean_of_its_pixels_in_an_image() -> None:
    student, teacher = maps(images=3)
    target = torch.randint(0, 4, (3, 4, 5))
    target[1][target[1] == 2] = 3  # no such class there
    mask = (torch.rand(3, 4, 5) < 0.8).float()
    mask[2] = 0
    for item in (student, teacher):
        item.permute(0, 2, 3, 1)[mask == 0] = math.inf
    found = samples(CCLoss(sample='class'), student, teacher, target, mask)
    kept = found.mask.bool()
    for actual, item in ((found.student, student), (found.teacher, teacher)):
        expected = []
        for image, labels, valid in zip(item, target, mask, strict=True):
            for label in range(4):
                pixels = image[:, (labels == label) & (valid > 0)]
                if pixels.shape[1]:
                    expected.append(pixels.numpy().mean(axis=1))
        assert_close(actual[kept], torch.tensor(np.array(expected)))
    assert actual.isfinite().all()


@pytest.mark.parametrize('loss', LOSSES)
def test_ignored_pixels_change_nothing(loss: type[SampleLoss]) -> None:
    student, teacher = maps(6, 6, images=4)
    target = torch.randint(0, 3, (4, 6, 6))
    mask = (torch.rand(4, 6, 6) < 0.7).float()
    inputs: dict[str, Any] = dict(target=target, mask=mask)
    for sample in ('image', 'pixel', 'class'):
        built = loss(sample=sample, max_samples=20)
        value = built(student, teacher, **inputs)
        assert value > 0
        changed_target = target.masked_fill(mask == 0, 1)
        changed = [
            item.masked_fill(mask[:, None] == 0, math.inf)
            for item in (student, teacher)
        ]
        assert torch.equal(built(*changed, target=changed_target, mask=mask), value)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('sample', ['image', 'pixel', 'class'])
def test_nothing_kept_is_zero_with_a_graph(loss: type[SampleLoss], sample: str) -> None:
    student, teacher = maps()
    target = torch.zeros(2, 4, 5, dtype=torch.long)
    for max_samples in (1, 512):
        built = loss(sample=sample, max_samples=max_samples)
        student.requires_grad_().grad = None
        value = built(
            student, teacher, target=target, mask=torch.zeros(2, 4, 5), avg_factor=0.0
        )
        assert value.item() == 0
        backward(value)
        assert not student.grad.any()


@pytest.mark.parametrize('loss', LOSSES)
def test_what_is_computed_of_half_precision_is_float32(loss: type[SampleLoss]) -> None:
    student, teacher = (item.half() * 3e3 for item in maps(16, 16, images=4))
    student.requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        target = torch.randint(0, 3, (4, 16, 16))
        found = samples(loss(sample='class'), student, teacher, target)
        assert found.student.dtype == torch.float32
    expected = samples(loss(sample='class'), student.double(), teacher.double(), target)
    assert_close(found.student.double(), expected.student, rtol=1e-4, atol=1e-2)


# How many


@pytest.mark.parametrize('count', [64, 65, 100, 8192, 32768])
def test_no_sample_is_taken_twice_and_all_regions_are(count: int) -> None:
    rows = torch.arange(float(count))[:, None]
    actual = samples(RKDLoss(), rows, -rows).student[:, 0].tolist()
    assert len(set(actual)) == 64
    for index, row in enumerate(actual):
        assert index * count // 64 <= row < (index + 1) * count // 64


def test_pixels_are_taken_of_all_rows_and_columns() -> None:
    # Every 64th of 64 x 128 pixels would be one of two columns.
    pixels = torch.arange(64 * 128.0).view(1, 1, 64, 128)
    actual = samples(SPLoss(sample='pixel', max_samples=128), pixels, pixels).student
    assert len(set((actual % 128).flatten().tolist())) > 70
    assert len(set((actual // 128).flatten().tolist())) == 64


def test_of_student_and_teacher_the_same_samples_are_taken() -> None:
    student, teacher = torch.randn(300, 3), torch.randn(300, 6)
    number = torch.arange(300.0)[:, None]
    mask = (torch.rand(300) < 0.6).float()
    pair = torch.cat([number, student], 1), torch.cat([number, teacher], 1)
    found = samples(RKDLoss(max_samples=50), *pair, mask=mask)
    assert torch.equal(found.student[:, 0], found.teacher[:, 0])
    assert torch.equal(found.student[:, 1:], student[found.student[:, 0].long()])


@pytest.mark.parametrize('share', [0.9, 0.1, 0.0])
def test_those_dropped_take_no_place(share: float) -> None:
    student, teacher = torch.randn(300, 3), torch.randn(300, 6)
    mask = (torch.rand(300) < share).float()
    found = samples(RKDLoss(max_samples=50), student, teacher, mask=mask)
    kept = mask.bool()
    expected = samples(RKDLoss(max_samples=50), student[kept], teacher[kept])
    assert len(found.student) == 50
    assert torch.equal(found.student[found.mask.bool()], expected.student)


def test_max_samples_none_takes_all() -> None:
    found = samples(RKDLoss(max_samples=None), *torch.randn(2, 700, 2))
    assert len(found.student) == 700
    defaults = [loss().max_samples for loss in LOSSES]
    assert defaults == [512, 512, 64, 512]


@pytest.mark.parametrize('loss', LOSSES)
def test_a_process_counts_by_its_share_of_what_is_counted(
    loss: type[SampleLoss],
) -> None:
    student, teacher = maps(6, 6, images=4)
    target = torch.randint(0, 3, (4, 6, 6))
    mask = (torch.rand(4, 6, 6) < 0.7).float()
    for sample in ('image', 'pixel', 'class'):
        built = loss(sample=sample, max_samples=20)
        plain = built(student, teacher, target=target)
        # The mean over the ranks is 8 images, of which 4 are here.
        half = built(student, teacher, target=target, avg_factor=torch.tensor(8.0))
        assert_close(half, plain / 2)
        plain = built(student, teacher, target=target, mask=mask)
        count = float(mask.sum())
        half = built(student, teacher, target=target, mask=mask, avg_factor=2 * count)
        assert_close(half, plain / 2)


# What is refused


def test_only_classes_need_labels() -> None:
    asks = {sample: SPLoss(sample=sample).needs_target for sample in ('image', 'pixel')}
    assert asks == {'image': False, 'pixel': False}
    assert SPLoss(sample='class').needs_target


def test_classes_without_labels_are_refused_with_the_view_to_use() -> None:
    message = (
        r"sample='class' needs the labels \(2, 4, 5\) of the pixels as target, got "
        r"none. Use view='seg.features' or 'seg.logits', or sample='pixel'"
    )
    with pytest.raises(ShapeError, match=message):
        RKDLoss(sample='class')(*maps())
    with pytest.raises(ShapeError, match=r'got \(2, 8, 10\)'):
        RKDLoss(sample='class')(*maps(), target=torch.zeros(2, 8, 10))


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize(
    ('shapes', 'options', 'message'),
    [
        (((4, 3), (5, 3)), {}, 'differ in rows .* the same samples in the same order'),
        (((4, 3), (4, 3, 1, 1)), {}, 'differ in their number of axes'),
        (
            ((4, 3, 2), (4, 3, 2)),
            {},
            r'student must be \(R, D\) or \(N, C, H, W\)',
        ),
        (((4, 3), ()), {}, r'teacher must be \(R, D\) or'),
        (((4, 3), (4, 3)), {'sample': 'pixel'}, r"'pixel' needs maps .* Remove sample"),
        (((4, 3), (4, 3)), {'sample': 'class'}, r"'class' needs maps .* Remove sample"),
        (
            ((2, 3, 4, 4), (2, 3, 4, 5)),
            {'sample': 'pixel'},
            r"differ in .*height or width.*'ResizeAdapter'",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    loss: type[SampleLoss],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    options: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ShapeError, match=message):
        loss(**options)(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_masks_are_of_images_or_of_pixels() -> None:
    message = r'mask must be \(2,\), one number per row, or \(2, 4, 5\), one number per'
    with pytest.raises(ShapeError, match=message):
        SPLoss()(*maps(), mask=torch.ones(2, 5, 4))


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(sample='roi'), "sample must be 'image', 'pixel' or 'class', got 'roi'"),
        (dict(max_samples=0), 'max_samples must be a whole number >= 1, got 0'),
        (dict(max_samples=2.5), 'max_samples must be a whole number >= 1, got 2.5'),
    ],
)
def test_impossible_options_are_refused(
    loss: type[SampleLoss], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        loss(**options)
