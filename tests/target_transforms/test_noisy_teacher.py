"""Noisy teachers: logits, each enlarged or diminished by a random share of itself."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import LossContext, StepData, logit_l2
from kd_plugins.target_transforms import (
    ComparedRows,
    NoisyTeacherTransform,
    noisy_logits,
)

TEACHER = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)
STUDENT = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)


def at(iteration: int | None = 0, images: int = 2, **changes: Any) -> LossContext:
    step = StepData(torch.zeros(images, 3, 8, 8), iteration=iteration)
    return LossContext(pair='logits', step=step, **changes)


def noise_on(
    teacher: Tensor,
    context: LossContext,
    images: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """The noise that a transform puts on a teacher without zeros."""
    transform = NoisyTeacherTransform(**options)
    rows = ComparedRows(torch.zeros_like(teacher), teacher, images=images)
    return transform(rows, context).teacher / teacher - 1


def test_running_example() -> None:
    """The loss is the clean one, 1, and the regulariser of that noise, 0.04."""
    noise = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64)
    noisy = noisy_logits(TEACHER, noise)
    assert_close(noisy, torch.tensor([[2.2, 0.8, 0.0]], dtype=torch.float64))
    added = TEACHER * noise
    regulariser = (added.square().sum() - 2 * ((STUDENT - TEACHER) * added).sum()) / 2
    assert regulariser.item() == pytest.approx(0.04)
    assert logit_l2(STUDENT, TEACHER).item() == pytest.approx(1.0)
    assert logit_l2(STUDENT, noisy).item() == pytest.approx(1.04)


def test_on_average_it_adds_to_the_value_and_not_to_the_gradient() -> None:
    """With all rows noisy, std^2 / 2 times the mean square of a row's logits."""
    rows = 40_000
    student = STUDENT.expand(rows, 3).clone().requires_grad_()
    compared = ComparedRows(student, TEACHER.expand(rows, 3))
    transform = NoisyTeacherTransform(noise_std=0.2, share=1.0, granularity='row')
    value = logit_l2(student, transform(compared, at()).teacher)
    assert value.item() == pytest.approx(1.0 + 0.04 * 5 / 2, abs=5e-3)
    (derivative,) = torch.autograd.grad(value, student)
    assert_close(derivative.sum(dim=0), (STUDENT - TEACHER)[0], atol=6e-3, rtol=0)


@pytest.mark.parametrize('options', [dict(share=0.0), dict(noise_std=0.0)])
@pytest.mark.parametrize('granularity', ['image', 'level', 'row'])
def test_nothing_is_the_identity(options: dict, granularity: str) -> None:
    teacher = torch.randn(2, 3, 4, 5)
    rows = ComparedRows(teacher, teacher)
    transform = NoisyTeacherTransform(**options, granularity=granularity)
    assert torch.equal(transform(rows, at()).teacher, teacher)


def test_share_and_deviation_of_the_noise() -> None:
    noise = noise_on(
        torch.ones(20_000, 4), at(), granularity='row', noise_std=0.3, share=0.25
    )
    noisy = noise.abs().amax(dim=1) > 1e-6
    assert noisy.float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert noise[noisy].std().item() == pytest.approx(0.3, abs=0.01)
    assert noise[noisy].mean().item() == pytest.approx(0.0, abs=0.01)
    assert not noise[~noisy].any()


def test_of_an_image_all_rows_and_anchors_have_one_noise() -> None:
    images = torch.tensor([0, 1, 1, 0, 1])
    noise = noise_on(torch.ones(5, 4), at(), images, share=1.0)
    assert_close(noise[0], noise[3])
    assert_close(noise[1], noise[4])
    assert not torch.allclose(noise[0], noise[1])
    assert noise[0].unique().numel() == 4  # of each class another
    # Two images of three anchors.
    maps = noise_on(torch.ones(6, 4, 2, 3), at(), share=1.0)
    expected = noise[images.new_tensor([0, 0, 0, 1, 1, 1])][..., None, None]
    assert_close(maps, expected.expand_as(maps))


def test_of_a_row_each_pixel_has_another() -> None:
    noise = noise_on(torch.ones(2, 4, 3, 5), at(), share=1.0, granularity='row')
    assert noise.unique().numel() == noise.numel()


def test_levels_share_the_noise_of_an_image_or_have_others() -> None:
    maps = torch.ones(2, 3, 2, 2)
    for granularity, alike in (('image', True), ('level', False), ('row', False)):
        first, second = (
            noise_on(maps, at(level=level), share=1.0, granularity=granularity)
            for level in (0, 1)
        )
        assert torch.equal(first, second) == alike


def test_its_stream_is_its_own() -> None:
    """By pair and iteration: nothing else that draws shifts, nor is it shifted."""
    teacher = torch.ones(4, 3)
    state = torch.get_rng_state()
    first = noise_on(teacher, at(7), granularity='row', share=1.0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again = noise_on(teacher, at(7), granularity='row', share=1.0)
    assert torch.equal(first, again)
    others = (at(8), LossContext(pair='other', step=at(7).step))
    for context in others:
        other = noise_on(teacher, context, granularity='row', share=1.0)
        assert not torch.equal(first, other)


def test_each_process_draws_others(monkeypatch: pytest.MonkeyPatch) -> None:
    noises = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
        monkeypatch.setattr(torch.distributed, 'get_rank', lambda rank=rank: rank)
        noises.append(noise_on(torch.ones(4, 3), at(), granularity='row', share=1.0))
    assert not torch.equal(*noises)


def test_without_an_iteration_it_draws_one_number_of_the_default_stream() -> None:
    torch.manual_seed(3)
    first, second = (
        noise_on(torch.ones(4, 3), at(None), granularity='row', share=1.0)
        for _ in range(2)
    )
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    again = noise_on(torch.ones(4, 3), at(None), granularity='row', share=1.0)
    assert torch.equal(first, again)


def test_the_teacher_itself_and_the_student_stay() -> None:
    teacher = torch.randn(3, 4)
    before = teacher.clone()
    rows = ComparedRows(torch.zeros(3, 4), teacher, torch.ones(3))
    changed = NoisyTeacherTransform(granularity='row', share=1.0)(rows, at())
    assert torch.equal(teacher, before)
    assert changed.student is rows.student and changed.mask is rows.mask


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(noise_std=-1), 'noise_std must be a finite number >= 0'),
        (dict(share=1.5), 'share must be a number from 0 to 1, got 1.5'),
        (dict(granularity='batch'), "granularity must be 'image', 'level' or 'row'"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NoisyTeacherTransform(**options)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="Set granularity='row' in target_transform"):
        noise_on(torch.ones(3, 4), at())
    with pytest.raises(ShapeError, match=r'noise must be \(3, 4\), or 1 along some'):
        noisy_logits(torch.ones(3, 4), torch.ones(2, 4))
