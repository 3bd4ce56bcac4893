"""Holistic distillation: the critic's objective, its penalty, and both sides' steps."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kd_plugins.errors import ConfigError, ShapeError
from kd_plugins.losses import (
    HolisticLoss,
    LossContext,
    StepData,
    critic_objective,
    gradient_penalty,
)
from kd_plugins.losses._critic import Critic, SelfAttention

from ._common import backward, gradient

WITHOUT_CASES = {HolisticLoss: 'a critic of random weights'}


def linear(weight: Tensor) -> Any:
    return lambda maps: (maps * weight).flatten(1).sum(1)


def small(**options: Any) -> HolisticLoss:
    return HolisticLoss(
        **{'channels': 4, 'base_channels': 8, 'condition_on_image': False, **options}
    )


def maps(channels: int = 4, side: int = 16) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 2, channels, side, side)
    return student, teacher


def critic_step(loss: HolisticLoss) -> tuple[Tensor, dict[str, Tensor]]:
    (extra,) = loss.auxiliary_optimizers().values()
    value, log_vars = extra.loss()
    assert value is not None
    return value, log_vars


def test_objectives_by_hand() -> None:
    student, teacher = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 6.0])
    assert critic_objective(student, teacher).item() == 2 - 3
    # max(0, 1 + D(S)): 2, 4; max(0, 1 - D(T)): 1, 0.
    assert critic_objective(student, teacher, kind='hinge').item() == 3 + 0.5
    assert critic_objective(student, student).item() == 0


@pytest.mark.parametrize(('length', 'expected'), [(1.0, 0.0), (3.0, 4.0), (0.0, 1.0)])
def test_a_linear_critic_is_penalised_for_its_slope(
    length: float, expected: float
) -> None:
    weight = torch.randn(3, 4, 5, dtype=torch.float64)
    weight = length * weight / weight.norm()
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    position = torch.rand(2, dtype=torch.float64)
    value = gradient_penalty(linear(weight), student, teacher, position)
    assert value.item() == pytest.approx(expected)


def test_the_penalty_is_taken_between_the_two() -> None:
    """A critic that is flat except at one point sees the position by its slope."""
    student, teacher = torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 3.0)
    position = torch.tensor([0.25, 1.0])
    value = gradient_penalty(
        lambda item: item.flatten(1).square().sum(1), student, teacher, position
    )
    slopes = [2 * 0.25 * 3, 2 * 1.0 * 3]
    assert value.item() == pytest.approx(sum((s - 1) ** 2 for s in slopes) / 2)


def test_the_penalty_has_a_gradient_to_the_critic() -> None:
    student, teacher = torch.randn(2, 2, 3, 4, 5, dtype=torch.float64)
    weight = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)

    def penalty(item: Tensor) -> Tensor:
        half = torch.full((2,), 0.5, dtype=torch.float64)
        return gradient_penalty(
            lambda seen: (seen * item).flatten(1).sum(1).tanh(), student, teacher, half
        )

    assert torch.autograd.gradcheck(penalty, (weight,))


@pytest.mark.parametrize(
    'sides', [(64, 64), (65, 65), (16, 16), (7, 33), (1, 1), (80, 160)]
)
@pytest.mark.parametrize('channels', [1, 19])
@pytest.mark.parametrize('num_convs', [1, 2, 4])
def test_the_critic_scores_any_size(
    sides: tuple[int, int], channels: int, num_convs: int
) -> None:
    critic = Critic(channels, 3, base_channels=4, num_convs=num_convs)
    scores = critic(torch.randn(2, channels, *sides), torch.randn(2, 3, *sides))
    assert scores.shape == (2,)
    assert scores.isfinite().all()


@pytest.mark.parametrize(
    ('num_convs', 'side', 'widths'), [(2, 16, [8, 16]), (4, 64, [8, 16, 32, 64])]
)
def test_the_critic_reads_maps_of_its_size_as_they_are(
    num_convs: int, side: int, widths: list[int]
) -> None:
    critic = small(num_convs=num_convs).critic.eval()
    inputs = torch.randn(2, 4, side, side)
    score = critic.score(critic.blocks(inputs))
    assert torch.equal(critic(inputs), score.flatten())  # one place, not enlarged
    halves = nn.functional.interpolate(inputs[..., ::2, ::2], side, mode='bilinear')
    assert torch.equal(critic(inputs[..., ::2, ::2]), critic(halves))
    convs = [block for block in critic.blocks if isinstance(block, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == widths
    kinds = [
        type(block).__name__.removeprefix('Parametrized') for block in critic.blocks
    ]
    last_two = ['Conv2d', 'LeakyReLU', 'SelfAttention'] * 2
    assert kinds == ['Conv2d', 'LeakyReLU'] * (num_convs - 2) + last_two


def test_attention_starts_as_nothing_and_equals_torch() -> None:
    layer = SelfAttention(16)
    feature = torch.randn(2, 16, 3, 5)
    assert torch.equal(layer(feature), feature)
    nn.init.constant_(layer.gamma, 2.0)
    query, key, value = (
        item(feature).flatten(2).transpose(1, 2)
        for item in (layer.query, layer.key, layer.value)
    )
    attended = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    expected = feature + 2 * attended.transpose(1, 2).reshape(feature.shape)
    assert_close(layer(feature), expected)


def test_the_student_climbs_the_critic_and_the_critic_stays() -> None:
    loss = small(loss_weight=0.1)
    student, teacher = maps()
    student.requires_grad_()
    value = loss(student, teacher)
    expected = -0.1 * loss.critic(student.softmax(1)).mean()
    assert_close(value, expected, rtol=1e-2, atol=1e-3)  # spectral norms move on
    down = gradient(value, student)
    backward(loss(student, teacher))
    assert all(parameter.grad is None for parameter in loss.critic.parameters())
    assert all(parameter.requires_grad for parameter in loss.critic.parameters())
    before = loss.critic.eval()(student.softmax(1)).mean()
    after = loss.critic((student - 1e3 * down).softmax(1)).mean()
    assert after > before


def test_the_critic_learns_to_tell_them_apart() -> None:
    loss = small()
    student, teacher = maps()
    optimizer = torch.optim.Adam(loss.critic.parameters(), lr=1e-3)
    gaps = []
    for _ in range(12):
        loss(student.requires_grad_(), 4 * teacher)
        value, log_vars = critic_step(loss)
        optimizer.zero_grad()
        backward(value)
        optimizer.step()
        gaps.append(log_vars['teacher'] - log_vars['student'])
        assert_close(log_vars[''], -gaps[-1])
        assert_close(value.detach(), log_vars[''] + 10 * log_vars['penalty'])
        assert not log_vars['penalty'].requires_grad
    assert gaps[-1] > gaps[0] + 0.01
    assert student.grad is None


def test_nothing_to_tell_apart_is_nothing_to_lower() -> None:
    loss = small(penalty_weight=0.0)
    student, _ = maps()
    loss(student.requires_grad_(), student.detach())
    value, log_vars = critic_step(loss)
    # Spectral norms move on with each pass.
    assert value.item() == pytest.approx(0, abs=1e-3)
    assert_close(log_vars['student'], log_vars['teacher'], rtol=0, atol=1e-3)


def test_each_batch_trains_the_critic_for_the_configured_steps() -> None:
    loss = small(steps=2)
    (extra,) = loss.auxiliary_optimizers().values()
    assert extra.steps == 2
    assert extra.loss() == (None, {})
    student, teacher = maps()
    loss(student.requires_grad_(), teacher)
    assert extra.loss()[0] is not None
    assert extra.loss()[0] is not None
    assert extra.loss() == (None, {})
    with torch.no_grad():  # nobody trains
        loss(student, teacher)
    assert extra.loss() == (None, {})


def test_images_are_seen_beside_the_maps() -> None:
    loss = small(condition_on_image=True)
    student, teacher = maps()
    context, other_context = (
        LossContext(
            activation='softmax', step=StepData(inputs=torch.randn(2, 3, 128, 128))
        )
        for _ in range(2)
    )
    loss.critic.eval()
    one, two = (
        loss(student, teacher, context=each) for each in (context, other_context)
    )
    assert one != two
    with pytest.raises(ShapeError, match='condition_on_image=True, and there is no'):
        loss(student, teacher)


def test_raw_maps_of_any_scale_are_normalised() -> None:
    loss = small(maps='raw')
    student, teacher = maps()
    loss.critic.eval()
    plain = loss(student, teacher)
    both = [100 * item + 3 for item in (student, teacher)]
    assert_close(loss(*both), plain)
    # But what the student alone gets wrong is seen, and can be mended.
    assert not torch.isclose(loss(student + 3, teacher), plain)
    offset = torch.zeros(1, requires_grad=True)
    assert gradient(loss(student + offset, teacher), offset).abs() > 1e-4
    loss(student, teacher)
    value, _ = critic_step(loss)
    assert value.isfinite()


def test_probs_of_what_are_no_logits_are_refused() -> None:
    student, teacher = maps(channels=1)
    with pytest.raises(ConfigError, match=r"'probs' is for logits.* Set maps='raw'"):
        small(channels=1)(student, teacher, context=LossContext(stage=0))


def test_the_critic_learns_by_the_hinge_too() -> None:
    loss = small(kind='hinge')
    student, teacher = maps()
    loss(student.requires_grad_(), teacher)
    value, log_vars = critic_step(loss)
    assert 0 < log_vars[''] < 4
    backward(value)


def test_sigmoid_heads_are_read_by_sigmoid() -> None:
    loss = small()
    loss.critic.eval()
    student, teacher = maps()
    value = loss(student, teacher, context=LossContext(activation='sigmoid'))
    assert_close(value, -loss.critic(student.sigmoid()).mean())


def test_float32_under_autocast() -> None:
    loss = small()
    loss.critic.eval()
    student, teacher = maps()
    value = loss(student, teacher)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = loss(student.requires_grad_(), teacher)
        _, log_vars = critic_step(loss)
    assert torch.equal(inside.detach(), value)
    assert all(item.dtype == torch.float32 for item in log_vars.values())


def test_only_the_critic_is_trained_apart() -> None:
    loss = small()
    assert loss.trained_with_student() == {}
    optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
    (extra,) = small(optim_wrapper=optim_wrapper).auxiliary_optimizers().values()
    assert extra.optim_wrapper == optim_wrapper
    copy.deepcopy(loss)  # as EMA does


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(channels=None), 'channels: number of channels of the maps. A pair sets'),
        (dict(kind='lsgan'), "kind must be 'wasserstein' or 'hinge', got 'lsgan'"),
        (dict(maps='logits'), "maps must be 'probs' or 'raw', got 'logits'"),
        (dict(steps=0), 'steps must be a whole number >= 1, got 0'),
        (dict(base_channels=1), 'base_channels must be a whole number >= 2, got 1'),
        (dict(num_convs=0), 'num_convs must be a whole number >= 1, got 0'),
        (dict(penalty_weight=-1), 'penalty_weight must be a finite number >= 0'),
    ],
)
def test_impossible_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match='differ in channels'):
        small()(torch.zeros(2, 4, 8, 8), torch.zeros(2, 5, 8, 8))
