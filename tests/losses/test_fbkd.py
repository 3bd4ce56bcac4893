"""Feature-based distillation: four norms, masks of attention, and non-local blocks."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn import NonLocal2d
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ConfigError
from kd_plugins.losses import FBKDLoss, feature_based_distance
from kd_plugins.losses._context import NonLocalBlock
from kd_plugins.losses.fbkd import _common_attention

from ._cases import TRAINED, LearnedCase, features
from ._common import backward, gradient

CASES = [
    LearnedCase(
        'fbkd',
        FBKDLoss,
        features(4, 2, 4),
        {'channels': 4, 'masked_weight': 1.0, 'attention_weight': 0.5},
        opt_outs=TRAINED
        | {
            'test_zero_where_student_equals_teacher': 'its adaptations are random',
            'test_gradcheck': 'attention is held fixed; gradcheck is in test_fbkd.py',
        },
    ),
]

EACH = ('masked_weight', 'attention_weight', 'non_local_weight')


def plain(student: Tensor, teacher: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Adaptations that change nothing."""
    means = [
        (student.mean(dim=axes, keepdim=True), teacher.mean(dim=axes, keepdim=True))
        for axes in ((2, 3), (1,))
    ]
    return [(student, teacher), *means, (student, teacher)]


def only(name: str, weight: float = 1.0) -> dict[str, Any]:
    return {other: weight * (other == name) for other in EACH}


def maps(images: int = 2) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, images, 3, 4, 5, dtype=torch.float64)
    return student.requires_grad_(), teacher


def filled(block: nn.Module) -> Any:
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block.double()


def naive_mask(student: np.ndarray, teacher: np.ndarray, channels: bool) -> np.ndarray:
    """Mean attention of the two, at a temperature of 0.5, by numpy."""

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values / 0.5)
        return powers / powers.sum() * powers.size

    both = [np.abs(item) for item in (student, teacher)]
    mask = sum(softmax(item.mean(0)) for item in both)[None] / 2
    if channels:
        mask = mask * sum(softmax(item.mean((1, 2))) for item in both)[:, None, None]
        mask = mask / 2
    return np.broadcast_to(mask, student.shape)


# The distance


def test_an_error_of_one_by_hand() -> None:
    """Everywhere as strong, so the mask is 1; four pixels, one channel."""
    student, teacher = torch.full((1, 1, 2, 2), -0.5), torch.full((1, 1, 2, 2), 0.5)
    for name, expected in (
        ('masked_weight', math.sqrt(4) * 7e-5),
        ('attention_weight', (1 + math.sqrt(4)) * 4e-3),
        ('non_local_weight', math.sqrt(4) * 7e-5),
    ):
        weight = 4e-3 if name == 'attention_weight' else 7e-5
        value = feature_based_distance(student, teacher, plain, **only(name, weight))
        assert value.item() == pytest.approx(expected)
    whole = feature_based_distance(student, teacher, plain)  # the defaults
    assert whole.item() == pytest.approx(4 * 7e-5 + 3 * 4e-3)


@pytest.mark.parametrize('norm_over', ['image', 'batch'])
def test_zero_for_equal_features_and_without_nan(norm_over: str) -> None:
    student, _ = maps()
    value = feature_based_distance(
        student, student.detach(), plain, norm_over=norm_over
    )
    assert value.item() == 0
    slope = gradient(value, student)
    assert not slope.any()  # a root's would be infinite


@pytest.mark.parametrize('use_channel_mask', [False, True])
@pytest.mark.parametrize('norm_over', ['image', 'batch'])
def test_masked_features_equal_numpy(use_channel_mask: bool, norm_over: str) -> None:
    student, teacher = maps()
    sums = []
    for student_item, teacher_item in zip(
        student.detach().numpy(), teacher.numpy(), strict=True
    ):
        squares = (student_item - teacher_item) ** 2 * naive_mask(
            student_item, teacher_item, use_channel_mask
        )
        sums.append(squares.sum())
    expected = np.sqrt(sum(sums)) if norm_over == 'batch' else np.sqrt(sums).mean()
    value = feature_based_distance(
        student,
        teacher,
        plain,
        use_channel_mask=use_channel_mask,
        norm_over=norm_over,
        **only('masked_weight'),
    )
    assert value.item() == pytest.approx(expected)


def test_the_other_norms_equal_numpy() -> None:
    student, teacher = maps()
    difference = (student.detach() - teacher).numpy()
    for name, parts in (
        ('attention_weight', [difference.mean((2, 3)), difference.mean(1)]),
        ('non_local_weight', [difference]),
    ):
        per_image = sum(np.sqrt((part.reshape(2, -1) ** 2).sum(1)) for part in parts)
        value = feature_based_distance(
            student, teacher, plain, reduction='none', **only(name)
        )
        assert value.tolist() == pytest.approx(per_image.tolist())


def test_masks_sum_to_the_pixels_and_carry_no_gradient() -> None:
    student, teacher = maps()
    mask = _common_attention(student, teacher, 0.5, use_channel_mask=False)
    assert mask.sum(dim=(1, 2, 3)).tolist() == pytest.approx([20, 20])
    assert not mask.requires_grad
    value = feature_based_distance(
        student, teacher, plain, norm_over='batch', **only('masked_weight')
    )
    mask = _common_attention(student, teacher, 0.5, use_channel_mask=True)
    difference = (student - teacher).detach()
    assert_close(gradient(value, student), mask * difference / value.detach())


def test_gradcheck_where_attention_is_even() -> None:
    """At such a temperature all masks are 1, wherever the student goes."""
    student, teacher = torch.randn(2, 2, 3, 2, 2, dtype=torch.float64)
    student.requires_grad_()
    loss = filled(FBKDLoss(channels=3, temperature=1e12))
    loss.masked_weight = loss.attention_weight = loss.non_local_weight = 1.0
    mask = torch.tensor([1.0, 0.0])
    for norm_over in ('image', 'batch'):
        loss.norm_over = norm_over
        assert torch.autograd.gradcheck(
            lambda item: loss(item, teacher, mask=mask), (student,)
        )


def test_norms_over_the_batch_grow_with_its_root() -> None:
    student, teacher = (item.detach() for item in maps())
    students, teachers = (torch.cat([item] * 4) for item in (student, teacher))
    options = dict(norm_over='batch')
    value = feature_based_distance(student, teacher, plain, **options)
    assert_close(
        feature_based_distance(students, teachers, plain, **options), 2 * value
    )
    for reduction in ('mean', 'sum'):
        same = feature_based_distance(
            student, teacher, plain, reduction=reduction, **options
        )
        assert_close(same, value)


def test_norms_over_the_batch_leave_out_what_is_masked() -> None:
    student, teacher = maps(3)
    options = dict(norm_over='batch')
    mask = torch.tensor([1.0, 0.0, 1.0])
    value = feature_based_distance(student, teacher, plain, mask=mask, **options)
    kept = feature_based_distance(student[::2], teacher[::2], plain, **options)
    assert_close(value, kept)
    nothing = feature_based_distance(
        student, teacher, plain, mask=torch.zeros(3), **options
    )
    assert nothing.item() == 0
    assert not gradient(nothing, student).any()


def test_one_image_is_a_batch() -> None:
    student, teacher = maps(1)
    values = [
        feature_based_distance(student, teacher, plain, norm_over=over)
        for over in ('image', 'batch')
    ]
    assert_close(*values)


# Non-local blocks


def host_block(block: NonLocalBlock, reduction: int) -> NonLocal2d:
    host = NonLocal2d(6, reduction=reduction, mode='dot_product').double()
    pairs = [
        (host.theta, block.query),
        (host.phi, block.key),
        (host.g, block.value),
        (host.conv_out, block.output),
    ]
    for module, layer in pairs:
        module.conv.load_state_dict(layer.state_dict())
    return host


@pytest.mark.parametrize(('reduction', 'pool'), [(1, 1), (2, 1), (2, 2), (4, 4)])
def test_a_non_local_block_equals_the_hosts(reduction: int, pool: int) -> None:
    block = filled(NonLocalBlock(6, reduction, pool))
    host = host_block(block, reduction)
    if pool > 1:
        for name in ('g', 'phi'):
            pooled = nn.Sequential(getattr(host, name), nn.MaxPool2d(pool))
            setattr(host, name, pooled)
    feature = torch.randn(2, 6, 8, 12, dtype=torch.float64)
    assert_close(block(feature), host(feature))


def test_a_non_local_block_starts_as_nothing_and_learns() -> None:
    block = NonLocalBlock(6)
    feature = torch.randn(2, 6, 3, 5)
    assert torch.equal(block(feature), feature)
    backward(block(feature).square().sum())
    assert block.output.weight.grad is not None and block.output.weight.grad.any()


@pytest.mark.parametrize('side', [1, 3, 7])
def test_maps_smaller_than_a_square_are_pooled_to_one(side: int) -> None:
    block = filled(NonLocalBlock(6, 2, 8))
    feature = torch.randn(2, 6, side, side, dtype=torch.float64)
    key, value = (layer(feature).amax(dim=(2, 3)) for layer in (block.key, block.value))
    related = torch.einsum('nchw,nc->nhw', block.query(feature), key)
    mixed = torch.einsum('nhw,nc->nchw', related, value)
    assert_close(block(feature), feature + block.output(mixed))


def test_memory_of_a_non_local_block_is_linear_in_the_pixels() -> None:
    sizes = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    feature = torch.randn(1, 4, 64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        NonLocalBlock(4)(feature)
    assert max(sizes) <= feature.numel()  # pairs of pixels would be 1024 times as many


# The module


def test_four_couples_reach_the_distance() -> None:
    student, teacher = maps()
    loss = filled(FBKDLoss(channels=3, loss_weight=2.0, norm_over='batch'))
    block = loss.blocks['0']
    masked, channels, pixels, relations = block(student, teacher)
    assert_close(masked[0], block.feature(student))
    assert_close(channels[0], block.channels(student.mean(dim=(2, 3))))
    assert_close(pixels[0], block.pixels(student.mean(dim=1, keepdim=True)))
    assert_close(relations[0], block.relations(block.student(student)))
    assert torch.equal(masked[1], teacher)
    assert_close(channels[1], teacher.mean(dim=(2, 3)))
    assert_close(pixels[1], teacher.mean(dim=1, keepdim=True))
    assert_close(relations[1], block.teacher(teacher))
    expected = feature_based_distance(student, teacher, block, norm_over='batch')
    assert_close(loss(student, teacher), 2 * expected)


def test_options_reach_the_distance() -> None:
    student, teacher = maps()
    options = dict(temperature=0.1, use_channel_mask=False, norm_over='batch')
    weights = dict(masked_weight=0.1, attention_weight=0.2, non_local_weight=0.3)
    loss = filled(FBKDLoss(channels=3, **options, **weights))
    expected = feature_based_distance(
        student, teacher, loss.blocks['0'], **options, **weights
    )
    assert_close(loss(student, teacher), expected)


def test_large_levels_compare_fewer_channels_with_fewer_pixels() -> None:
    blocks = FBKDLoss(channels=8, levels=4).blocks.values()
    found = [(block.student.pool, block.student.query.out_channels) for block in blocks]
    assert found == [(8, 2), (4, 2), (2, 4), (2, 4)]
    loss = FBKDLoss(channels=8, non_local_reductions=[1], non_local_pools=[3])
    block = loss.blocks['0'].teacher
    assert (block.pool, block.query.out_channels) == (3, 8)


def test_all_that_is_trained_gets_a_gradient() -> None:
    student, teacher = maps()
    loss = filled(FBKDLoss(channels=3))
    backward(loss(student, teacher))
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(norm_over='all'), "norm_over must be 'image' or 'batch', got 'all'"),
        (
            dict(norm_over='batch', reduction='none'),
            r"no value for each image, .*Set norm_over='image'",
        ),
        (dict(masked_weight=-1), 'masked_weight must be a finite number >= 0'),
        (dict(attention_weight=-1), 'attention_weight must be a finite number >= 0'),
        (dict(non_local_weight=-1), 'non_local_weight must be a finite number >= 0'),
        (dict(temperature=0), 'temperature must be a finite number > 0'),
        (dict(non_local_pools=[]), r'non_local_pools must be a list such as \[4, 4'),
        (dict(non_local_pools=8), r'non_local_pools must be a list such as \[4, 4'),
        (dict(non_local_reductions=[4, 0]), r'non_local_reductions\[1\] must be a'),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FBKDLoss(channels=3, **options)
