"""Masked generative distillation: what is masked, and what is generated of the rest."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from scipy import signal
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import MGDLoss, generation_distance, random_keep

from ._cases import TRAINED, LearnedCase, features
from ._common import backward, gradient

CASES = [
    LearnedCase(
        'mgd',
        MGDLoss,
        features(4, 2, 4),
        {'channels': 4, 'masked_ratio': 0.0},
        opt_outs=TRAINED
        | {'test_zero_where_student_equals_teacher': 'its generator is random'},
    ),
]


def maps(*shape: int) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, *(shape or (2, 3, 4, 5)), dtype=torch.float64)
    return student.requires_grad_(), teacher


def everything(feature: Tensor) -> Tensor:
    return torch.ones(len(feature), 1, *feature.shape[2:])


def build(**options: Any) -> MGDLoss:
    loss = MGDLoss(**{'channels': 3, **options})
    loss.double()
    return loss


def test_a_constant_error_by_hand() -> None:
    teacher = torch.randn(1, 2, 3, 4)
    student = teacher + 0.5  # on 24 numbers
    value = generation_distance(student, teacher, nn.Identity(), everything(student))
    assert value.item() == pytest.approx(24 * 0.5**2)


def test_what_is_masked_is_not_seen_by_hand() -> None:
    student = torch.tensor([[[[3.0, 5.0]]], [[[1.0, 1.0]]]])
    teacher = torch.ones(2, 1, 1, 2)
    keep = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 1.0]]]])
    value = generation_distance(
        student, teacher, lambda feature: 2 * feature, keep, reduction='none'
    )
    assert value.tolist() == [(6 - 1) ** 2 + 1, 1 + (2 - 1) ** 2]


@pytest.mark.parametrize('masked', ['pixels', 'channels'])
def test_equals_scipy(masked: str) -> None:
    student, teacher = maps()
    keep = random_keep(student, 0.5, masked=masked).double()
    generator = build().generators['0']

    def convolve(feature: np.ndarray, layer: nn.Module) -> np.ndarray:
        weight, bias = (item.detach().numpy() for item in layer.parameters())
        return np.stack(
            [
                bias[out]
                + sum(
                    signal.correlate2d(feature[c], weight[out, c], mode='same')
                    for c in range(len(feature))
                )
                for out in range(len(weight))
            ]
        )

    expected = []
    for student_item, teacher_item, kept in zip(
        student.detach(), teacher, keep, strict=True
    ):
        hidden = convolve((student_item * kept).numpy(), generator[0])
        generated = convolve(np.maximum(hidden, 0), generator[2])
        expected.append(((teacher_item.numpy() - generated) ** 2).sum())
    value = generation_distance(student, teacher, generator, keep, reduction='none')
    assert value.tolist() == pytest.approx(expected)


def test_nothing_masked_shows_the_generator_all() -> None:
    student, teacher = maps()
    loss = build(masked_ratio=0.0, loss_weight=0.5)
    generated = loss.generators['0'](student)
    expected = (teacher - generated).square().sum() / 2  # images
    assert_close(loss(student, teacher), 0.5 * expected)


def test_all_masked_leaves_the_biases_and_no_gradient() -> None:
    student, teacher = maps()
    loss = build(masked_ratio=1.0)
    value = loss(student, teacher)
    second = loss(torch.randn_like(student), teacher)
    assert torch.equal(value, second)
    backward(value)
    assert student.grad is not None and not student.grad.any()
    biases = [layer.bias.grad for layer in loss.generators['0'][::2]]
    assert all(item is not None and item.any() for item in biases)


def test_no_gradient_reaches_masked_pixels_through_a_pointwise_generator() -> None:
    student, teacher = maps()
    keep = random_keep(student, 0.5)
    value = generation_distance(student, teacher, nn.Identity(), keep)
    slope = gradient(value, student)
    assert not slope[keep.expand_as(student) == 0].any()
    assert slope[keep.expand_as(student) == 1].all()


def test_gradcheck_through_a_mask_that_stays() -> None:
    student, teacher = maps(2, 3, 2, 3)
    keep = random_keep(student, 0.5)
    generator = build().generators['0']
    assert torch.autograd.gradcheck(
        lambda item: generation_distance(item, teacher, generator, keep), (student,)
    )


@pytest.mark.parametrize('ratio', [0.15, 0.45, 0.65, 0.75])
def test_as_much_is_masked_as_was_asked_for(ratio: float) -> None:
    keep = random_keep(torch.zeros(10, 2, 100, 100), ratio)
    assert keep.shape == (10, 1, 100, 100)
    assert set(keep.unique().tolist()) == {0.0, 1.0}
    assert 1 - keep.mean().item() == pytest.approx(ratio, abs=0.01)
    channels = random_keep(torch.zeros(100, 1000, 1, 1), ratio, masked='channels')
    assert channels.shape == (100, 1000, 1, 1)
    assert 1 - channels.mean().item() == pytest.approx(ratio, abs=0.01)


def test_each_image_and_each_forward_draws_anew() -> None:
    feature = torch.zeros(2, 3, 20, 20)
    first, second = random_keep(feature, 0.5), random_keep(feature, 0.5)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    student, teacher = maps()
    loss = build(masked_ratio=0.5)
    assert loss(student, teacher) != loss(student, teacher)


def test_it_draws_from_the_default_generator() -> None:
    feature = torch.zeros(2, 3, 4, 5)
    torch.manual_seed(5)
    first = random_keep(feature, 0.5)
    torch.manual_seed(5)
    assert torch.equal(random_keep(feature, 0.5), first)


def test_processes_take_their_part_of_one_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(5)
    whole = random_keep(torch.zeros(4, 3, 4, 5), 0.5)
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(dist, 'get_rank', lambda rank=rank: rank)
        torch.manual_seed(5)
        parts.append(random_keep(torch.zeros(2, 3, 4, 5), 0.5))
    assert torch.equal(torch.cat(parts), whole)


def test_grows_with_the_map_as_in_the_paper() -> None:
    student, teacher = maps()
    value, wide = (
        generation_distance(
            student_item, teacher_item, nn.Identity(), everything(student_item)
        )
        for student_item, teacher_item in (
            (student, teacher),
            (student.repeat(1, 1, 2, 3), teacher.repeat(1, 1, 2, 3)),
        )
    )
    assert_close(wide, 6 * value)


def test_the_generator_learns() -> None:
    student, teacher = maps()
    loss = build(masked_ratio=0.5)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e-3)
    torch.manual_seed(1)
    before = loss(student, teacher)
    backward(before)
    optimizer.step()
    torch.manual_seed(1)  # the same mask
    assert loss(student, teacher) < before


@pytest.mark.parametrize('ratio', [-0.1, 1.1, None])
def test_impossible_ratios_are_refused(ratio: Any) -> None:
    with pytest.raises(ConfigError, match='masked_ratio must be '):
        MGDLoss(masked_ratio=ratio)


def test_unknown_masks_are_refused() -> None:
    message = "masked must be 'pixels' or 'channels', got 'rows'"
    with pytest.raises(ConfigError, match=message):
        MGDLoss(masked='rows')
    with pytest.raises(ConfigError, match=message):
        random_keep(torch.zeros(1, 1, 1, 1), 0.5, masked='rows')


@pytest.mark.parametrize('shape', [(2, 3, 4, 5), (1, 1, 4, 5), (2, 4, 5), (1, 1, 1, 1)])
def test_a_mask_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    student, teacher = maps()
    message = r'keep must be \(2, 1, 4, 5\) or \(2, 3, 1, 1\), got'
    with pytest.raises(ShapeError, match=message):
        generation_distance(student, teacher, nn.Identity(), torch.ones(shape))
