"""Masked distillation: the distance that masks see, their overlap, learned tokens."""

import atexit
import copy
import math
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor
from torch.testing import assert_close

from kd_plugins.errors import CheckpointError, ConfigError, ShapeError
from kd_plugins.losses import (
    DistillationLoss,
    LossContext,
    MasKDLoss,
    StepData,
    mask_overlap,
    masked_distance,
)
from kd_plugins.losses._tokens import ReceptiveTokens

from ._cases import LossCase, features
from ._common import backward, gradient


@cache
def learned_tokens() -> str:
    """A file of tokens for three channels, weighted and not, until the tests end."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    generator = torch.Generator().manual_seed(0)
    weights = {
        f'masks.{name}.0.{parameter}': torch.randn(shape, generator=generator)
        for name, parameter, *shape in (
            ('plain', 'tokens', 4, 3),
            ('weighted', 'tokens', 4, 3),
            ('weighted', 'weighting.0.weight', 3, 3, 3, 3),
            ('weighted', 'weighting.0.bias', 3),
            ('weighted', 'weighting.2.weight', 4, 3, 1, 1),
            ('weighted', 'weighting.2.bias', 4),
        )
    }
    torch.save(weights, f'{folder}/tokens.pth')
    return f'{folder}/tokens.pth'


@dataclass(frozen=True)
class TokensCase(LossCase):
    """A loss that reads learned tokens."""

    def build(self, **options: Any) -> DistillationLoss:
        return super().build(tokens=learned_tokens(), **options)


CASES = [
    TokensCase('maskd', MasKDLoss, features(3, 2, 4), {'learned_as': 'weighted'}),
    TokensCase(
        'maskd-customized',
        MasKDLoss,
        features(3, 2, 4),
        {'learned_as': 'plain', 'customize_after': 0},
        opt_outs={'test_gradcheck': "the student's own masks take no gradient"},
    ),
    TokensCase(
        'maskd-maps',
        MasKDLoss,
        features(3, 1, 1),
        {'learned_as': 'weighted'},
        mask_sides=(1, 1),
    ),
]


def maps(*shape: int) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, *(shape or (2, 3, 4, 5)), dtype=torch.float64)
    return student.requires_grad_(), teacher


def saved(path: Path, learned: dict[str, ReceptiveTokens]) -> str:
    """A checkpoint of tokens by '<name>.<level>'; its path."""
    entries = {
        f'masks.{name}.{parameter}': value
        for name, tokens in learned.items()
        for parameter, value in tokens.state_dict().items()
    }
    torch.save({'state_dict': entries, 'meta': {}}, path)
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Tokens of three channels: for two levels of a neck, and, plain, for logits."""
    learned = {
        'neck.0': ReceptiveTokens(3, 4),
        'neck.2': ReceptiveTokens(3, 2),
        'logits.0': ReceptiveTokens(3, 5, weighted=False),
    }
    for tokens in learned.values():
        tokens.tokens.data *= 100
    return saved(tmp_path / 'iter_9.pth', learned)


# The distance


@pytest.mark.parametrize(('mask', 'share'), [(1.0, 1.0), (0.5, 0.5), (0.2, 0.2)])
def test_a_constant_error_by_hand(mask: float, share: float) -> None:
    teacher = torch.randn(2, 3, 4, 5)
    masks = torch.full((2, 6, 4, 5), mask)  # squared over itself
    value = masked_distance(teacher + 3, teacher, masks)
    assert value.item() == pytest.approx(share * 3**2, rel=1e-5)


def test_two_masks_by_hand() -> None:
    student = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    masks = torch.tensor([[[[1.0, 0.0]], [[0.5, 1.0]]]])
    weights = torch.tensor([[0.75, 0.25]])
    # Errors, over channels: (1 + 9) / 2 and (4 + 16) / 2.
    first, second = 5.0, (0.25 * 5 + 10) / 1.5
    zeros = torch.zeros_like(student)
    value = masked_distance(student, zeros, masks, weights=weights)
    assert value.item() == pytest.approx(0.75 * first + 0.25 * second)
    value = masked_distance(student, zeros, masks)
    assert value.item() == pytest.approx((first + second) / 2)


def test_equals_loops() -> None:
    student, teacher = maps()
    masks = torch.rand(2, 4, 4, 5, dtype=torch.float64)
    weights = torch.rand(2, 4, dtype=torch.float64)
    value = masked_distance(student, teacher, masks, weights=weights, reduction='none')
    s, t = student.detach().numpy(), teacher.numpy()
    for image in range(2):
        expected = 0.0
        for token in range(4):
            mask = masks[image, token].numpy()
            channels = [
                ((mask * s[image, c] - mask * t[image, c]) ** 2).sum() / mask.sum()
                for c in range(3)
            ]
            expected += weights[image, token].item() * float(np.mean(channels))
        assert value[image].item() == pytest.approx(expected)


def test_order_of_masks_and_channels_and_resolution_do_not_matter() -> None:
    student, teacher = maps()
    masks = torch.rand(2, 4, 4, 5, dtype=torch.float64)
    weights = torch.rand(2, 4, dtype=torch.float64)
    value = masked_distance(student, teacher, masks, weights=weights)
    order, channels = [2, 0, 3, 1], [1, 2, 0]
    permuted = masked_distance(
        student[:, channels],
        teacher[:, channels],
        masks[:, order],
        weights=weights[:, order],
    )
    assert_close(permuted, value)
    large = [
        item.repeat_interleave(2, 2).repeat_interleave(3, 3)
        for item in (student, teacher, masks)
    ]
    assert_close(masked_distance(*large, weights=weights), value)


def test_what_no_mask_sees_does_not_count() -> None:
    student, teacher = maps(1, 3, 1, 2)
    masks = torch.tensor([[[[0.7, 0.0]], [[0.2, 0.0]]]])
    derivative = gradient(masked_distance(student, teacher, masks), student)
    assert derivative[..., 0].all()
    assert not derivative[..., 1].any()


def test_empty_masks_give_zero_and_no_gradient() -> None:
    student, teacher = maps()
    value = masked_distance(student, teacher, torch.zeros(2, 4, 4, 5))
    assert value.item() == 0
    assert not gradient(value, student).any()


def test_dropped_pixels_are_cut_out() -> None:
    student, teacher = maps(2, 3, 2, 5)
    masks = torch.rand(2, 4, 2, 5, dtype=torch.float64)
    pixels = torch.ones(2, 2, 5)
    pixels[:, :, 3:] = 0
    spoilt = teacher.clone()
    spoilt[..., 3:] = math.inf
    value = masked_distance(student, spoilt, masks, mask=pixels)
    cut = [item[..., :3] for item in (student, teacher, masks)]
    assert_close(value, masked_distance(*cut))
    # An image counts by its share: one of which all is kept, and one of which a half.
    pixels = torch.ones(2, 2, 5)
    pixels[1, 1] = 0
    first = masked_distance(student[:1], teacher[:1], masks[:1])
    upper = [item[1:, :, :1] for item in (student, teacher, masks)]
    expected = (first + 0.5 * masked_distance(*upper)) / 1.5
    assert_close(masked_distance(student, teacher, masks, mask=pixels), expected)
    count = pixels.sum()
    value = masked_distance(student, teacher, masks, mask=pixels, avg_factor=count)
    assert_close(value, expected)


@pytest.mark.parametrize('shape', [(2, 4, 4, 4), (1, 4, 4, 5), (2, 4, 20), (2, 4, 5)])
def test_masks_of_other_maps_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r'masks must be \(2, n, 4, 5\), got'):
        masked_distance(*maps(), torch.ones(shape))


def test_other_weights_are_refused() -> None:
    masks = torch.ones(2, 6, 4, 5)
    with pytest.raises(ShapeError, match=r'weights must be \(2, 6\), one number per'):
        masked_distance(*maps(), masks, weights=torch.ones(6))


# The overlap


def test_overlap_by_hand() -> None:
    same = torch.rand(3, 1, 2, 2).expand(3, 4, 2, 2)
    assert mask_overlap(same).item() == pytest.approx(1)
    assert mask_overlap(torch.eye(4).view(1, 4, 2, 2)).item() == 0
    nested = torch.tensor([[[[1.0, 1.0]], [[1.0, 0.0]]]])
    assert mask_overlap(nested).item() == pytest.approx(2 / 3)


def test_a_single_mask_overlaps_with_none() -> None:
    masks = torch.rand(2, 1, 3, 3, requires_grad=True)
    value = mask_overlap(masks)
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert_close(gradient(value, masks), torch.zeros(2, 1, 3, 3), atol=1e-6, rtol=0)


def test_overlap_equals_loops_and_is_finite_of_empty_masks() -> None:
    masks = torch.rand(2, 3, 2, 4, dtype=torch.float64)
    pairs = [
        2 * (first * second).sum() / ((first**2).sum() + (second**2).sum())
        for image in masks
        for i, first in enumerate(image)
        for j, second in enumerate(image)
        if i != j
    ]
    assert_close(mask_overlap(masks), torch.stack(pairs).mean())
    empty = torch.zeros(1, 2, 2, 2, requires_grad=True)
    value = mask_overlap(empty)
    assert value.item() == 0
    assert gradient(value, empty).isfinite().all()


# Tokens


def test_masks_and_weights_equal_scipy() -> None:
    tokens = ReceptiveTokens(3, 2).double()
    tokens.tokens.data *= 100
    feature = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    x = feature[0].numpy()
    e = tokens.tokens.detach().numpy()
    masks = 1 / (1 + np.exp(-np.einsum('tc,chw->thw', e, x)))
    first, _, last = tokens.weighting  # type: ignore[misc]
    kernel, bias = (item.detach().numpy() for item in first.parameters())
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    pooled = [
        sum(signal.correlate2d(padded[i], k[i], mode='valid') for i in range(3)).mean()
        for k in kernel
    ]
    weight, shift = (item.detach().numpy() for item in last.parameters())
    scores = np.exp(weight[..., 0, 0] @ (np.array(pooled) + bias) + shift)
    weights = scores / scores.sum()
    assert_close(tokens.masks(feature)[0].detach().numpy(), masks)
    assert_close(tokens.weights(feature)[0].detach().numpy(), weights)
    masked, learned_masks = tokens(feature)
    assert_close(learned_masks, tokens.masks(feature))
    expected = sum(weights[t] * masks[t] * x for t in range(2))
    assert_close(masked[0].detach().numpy(), expected)


def test_without_weighting_all_count_the_same() -> None:
    tokens = ReceptiveTokens(3, 4, weighted=False)
    feature = torch.randn(2, 3, 4, 5)
    assert_close(tokens.weights(feature), torch.full((2, 4), 0.25))
    assert [name for name, _ in tokens.named_parameters()] == ['tokens']
    # New tokens look everywhere alike, at half of what is there: four halves.
    assert_close(tokens(feature)[0], 2 * feature, atol=0.4, rtol=0)


# The loss


def at(level: int | None, pair: str = 'neck', **known: Any) -> LossContext:
    return LossContext(pair=pair, level=level, **known)


def read(file: str, name: str, weighted: bool) -> ReceptiveTokens:
    """Tokens of the file, read by hand."""
    stored = torch.load(file)['state_dict']
    state = {
        key.removeprefix(f'masks.{name}.'): value
        for key, value in stored.items()
        if key.startswith(f'masks.{name}.')
    }
    tokens = ReceptiveTokens(3, len(state['tokens']), weighted)
    tokens.load_state_dict(state)
    return tokens.double()


def test_takes_the_tokens_of_its_pair_and_level(file: str) -> None:
    student, teacher = maps()
    loss = MasKDLoss(file, loss_weight=2.0)
    for level in (0, 2):
        tokens = read(file, f'neck.{level}', True)
        expected = masked_distance(
            student,
            teacher,
            tokens.masks(teacher),
            weights=tokens.weights(teacher),
        )
        assert_close(loss(student, teacher, context=at(level)), 2 * expected)
    masks = read(file, 'logits.0', False).masks(teacher)
    expected = masked_distance(student, teacher, masks)
    for loss, context in (
        (MasKDLoss(file), at(None, 'logits')),
        (MasKDLoss(file, learned_as='logits'), at(0, 'other')),
        (MasKDLoss(file, learned_as='logits'), None),
    ):
        assert_close(loss(student, teacher, context=context), expected)


def test_tokens_are_of_the_teachers_level_where_the_students_is_another(
    file: str,
) -> None:
    student, teacher = maps()
    tokens = read(file, 'neck.2', True)
    expected = masked_distance(
        student, teacher, tokens.masks(teacher), weights=tokens.weights(teacher)
    )
    value = MasKDLoss(file)(student, teacher, context=at(0, teacher_level=2))
    assert_close(value, expected)


def test_pixels_that_are_dropped_may_be_anything(file: str) -> None:
    student, teacher = maps()
    pixels = torch.ones(2, 4, 5)
    pixels[0, 1, 2] = 0
    loss = MasKDLoss(file)
    context = at(0)
    value = loss(student, teacher, mask=pixels, context=context)
    derivative = gradient(value, student)
    teacher[0, :, 1, 2] = math.inf
    spoilt = loss(student, teacher, mask=pixels, context=context)
    assert torch.equal(spoilt, value)
    assert torch.equal(gradient(spoilt, student), derivative)
    assert not derivative[0, :, 1, 2].any()


@pytest.mark.parametrize(
    ('after', 'iteration', 'customized'),
    [(None, 10**6, False), (3, 2, False), (3, 3, True), (0, None, True)],
)
def test_masks_become_those_of_both(
    file: str, after: int | None, iteration: int | None, customized: bool
) -> None:
    student, teacher = maps()
    tokens = read(file, 'neck.0', True)
    masks = tokens.masks(teacher)
    if customized:  # gradients flow through the error alone
        masks = masks * tokens.masks(student).detach()
    expected = masked_distance(student, teacher, masks, weights=tokens.weights(teacher))
    loss = MasKDLoss(file, customize_after=after)
    value = loss(student, teacher, context=at(0, step=StepData(iteration=iteration)))
    assert_close(value, expected)
    assert_close(gradient(value, student), gradient(expected, student))


def test_customize_after_needs_the_iteration(file: str) -> None:
    loss = MasKDLoss(file, customize_after=3)
    with pytest.raises(ConfigError, match='customize_after=3, and the iteration is'):
        loss(*maps(), context=at(0))


def test_finite_for_huge_features_that_agree_nowhere(file: str) -> None:
    student = torch.full((1, 3, 2, 2), -1e4, requires_grad=True)
    loss = MasKDLoss(file, customize_after=0)
    value = loss(student, -student.detach(), context=at(0))
    assert value.isfinite()
    assert gradient(value, student).isfinite().all()


def test_tokens_are_frozen_and_in_no_checkpoint(file: str) -> None:
    student, teacher = maps()
    loss = MasKDLoss(file)
    teacher.requires_grad_()
    value = loss(student, teacher, context=at(0))
    assert not list(loss.parameters())
    assert loss.state_dict() == {}
    assert loss.trained_with_student() == {}
    Path(file).unlink()  # it is read once; a copy has what it knows
    for again in (loss, copy.deepcopy(loss)):
        assert torch.equal(again(student, teacher, context=at(0)), value)
    backward(value)
    assert teacher.grad is None


def test_a_dry_run_needs_no_file() -> None:
    loss = MasKDLoss('nowhere.pth')
    zeros = torch.zeros(2, 3, 4, 5)
    assert loss(zeros, zeros, context=at(0, dry_run=True)).item() == 0
    with pytest.raises(ShapeError, match='differ in channels'):
        loss(zeros[:, :1], zeros, context=at(0, dry_run=True))


@pytest.mark.parametrize('context', [at(0), LossContext()], ids=['pair', 'alone'])
def test_a_missing_file_is_named(tmp_path: Path, context: LossContext) -> None:
    loss = MasKDLoss(str(tmp_path / 'iter_2.pth'))
    with pytest.raises(
        CheckpointError, match=r"^loss\.tokens: there is no file '.*iter_2"
    ):
        loss(*maps(), context=context)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'teacher.pth'
    torch.save({'backbone.conv1.weight': torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"holds no masks.*'backbone\.conv1\.wei"):
        MasKDLoss(str(path))(*maps(), context=at(0))


def test_tokens_of_another_name_level_or_channels_are_refused(file: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"masks of 'neck', 'logits', none of 'fpn'.*learned_as"
    ):
        MasKDLoss(file)(*maps(), context=at(0, 'fpn'))
    with pytest.raises(ConfigError, match='for level 0, 2, none for level 1'):
        MasKDLoss(file)(*maps(), context=at(1))
    with pytest.raises(ConfigError, match='for level 0, 2, none for level None'):
        MasKDLoss(file)(*maps(), context=at(None))
    with pytest.raises(
        ShapeError, match=r"masks 'neck' for 3 channels, and teacher \(2, 8, 4, 5\)"
    ):
        MasKDLoss(file)(*maps(2, 8, 4, 5), context=at(0))


@pytest.mark.parametrize('tokens', [None, 6, {}])
def test_tokens_must_be_a_path(tokens: Any) -> None:
    with pytest.raises(ConfigError, match='tokens must be the path of a checkpoint of'):
        MasKDLoss(tokens)


@pytest.mark.parametrize('after', [-1, 1.5, '3', True])
def test_impossible_iterations_are_refused(after: Any) -> None:
    with pytest.raises(ConfigError, match='customize_after must be a whole number >='):
        MasKDLoss('tokens.pth', customize_after=after)


def test_masks_that_all_count_the_same_share_the_places_out() -> None:
    # A map that knows its classes: 4 of them, a quarter of the pixels each.
    torch.manual_seed(0)
    labels = torch.arange(64).div(16, rounding_mode='floor').view(1, 8, 8)
    logits = 6 * torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float() - 3
    tokens = ReceptiveTokens(4, 3, weighted=False)
    optimizer = torch.optim.Adam(tokens.parameters(), lr=0.1)
    for _ in range(200):
        masked, masks = tokens(logits)
        overlap = mask_overlap(masks)
        loss = torch.nn.functional.cross_entropy(masked, labels) + overlap
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert overlap < 0.2
