"""What a loss trains by itself, here a critic, beside the student."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch.testing import assert_close

from kd_plugins.distillers.auxiliary import names_of_auxiliary
from kd_plugins.engine.hooks.checkpoint import _at_whole_step
from kd_plugins.engine.optimizer import DistillOptimWrapperConstructor
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS

from .tiny import distiller, teacher_of, weights_of
from .tiny_seg import segment_batch, segmentor

pytestmark = pytest.mark.host


def holistic(**options: Any) -> dict[str, Any]:
    loss = dict(type='HolisticLoss', base_channels=8, loss_weight=0.1) | options
    return dict(view='seg.logits', loss=loss)


def build(**options: Any) -> Any:
    return distiller(
        dict(holistic=holistic(**options)),
        student=segmentor(),
        teacher=teacher_of(segmentor(8)),
    )


def wrapper_of(model: Any, **changes: Any) -> Any:
    cfg = {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.05}} | changes
    return DistillOptimWrapperConstructor(cfg)(model)


class Steps:
    """Train steps on one batch; dropout draws from one seed."""

    def __init__(self, model: Any) -> None:
        self.model = model
        prepared = segment_batch(model)
        self.inputs, self.samples = prepared['inputs'], prepared['data_samples']
        # The batch is preprocessed already.
        self.data = dict(inputs=self.inputs, data_samples=self.samples)

    def __call__(self, wrapper: Any, count: int) -> dict[str, Any]:
        torch.manual_seed(1)
        told: dict[str, Any] = {}
        student = getattr(self.model, 'student', self.model)
        preprocess = student.data_preprocessor.forward
        student.data_preprocessor.forward = lambda data, training: data
        for _ in range(count):
            told = self.model.train_step(copy.copy(self.data), wrapper)
        student.data_preprocessor.forward = preprocess
        return told


def test_the_critic_has_an_optimiser_of_its_own() -> None:
    model = build()
    wrapper = wrapper_of(model)
    assert isinstance(wrapper, OptimWrapperDict)
    assert list(wrapper.optim_wrappers) == ['student', 'holistic_critic']
    critic = model.losses.holistic.critic
    stepped = {
        name: {id(item) for group in each.param_groups for item in group['params']}
        for name, each in wrapper.items()
    }
    assert stepped['holistic_critic'] == {id(item) for item in critic.parameters()}
    assert stepped['student'] == {id(item) for item in model.student.parameters()}
    assert wrapper['holistic_critic'].get_lr() == {'lr': [4e-4]}


def test_channels_are_those_of_the_pair() -> None:
    conv = build().losses.holistic.critic.blocks[0]
    assert conv.in_channels == 4 + 3
    alone = build(condition_on_image=False).losses.holistic.critic.blocks[0]
    assert alone.in_channels == 4


def test_a_step_moves_both_and_tells_of_both_sides() -> None:
    model = build()
    before = weights_of(model)
    told = Steps(model)(wrapper_of(model), 2)
    moved = {
        name.split('.')[0]
        for name, value in weights_of(model).items()
        if not torch.equal(value, before[name])
    }
    assert moved == {'student', 'losses'}
    assert {
        'decode.loss_ce',
        'loss_kd_holistic',
        'critic_holistic',
        'critic_holistic_penalty',
        'critic_holistic_student',
        'critic_holistic_teacher',
    } <= set(told)
    added = [value for key, value in told.items() if 'loss' in key and key != 'loss']
    assert_close(told['loss'], sum(torch.as_tensor(value) for value in added))
    gap = told['critic_holistic_student'] - told['critic_holistic_teacher']
    assert_close(told['critic_holistic'], gap)


def test_no_key_of_what_a_critic_says_contains_loss() -> None:
    pairs = dict(whole_loss=holistic())
    model = distiller(pairs, student=segmentor(), teacher=teacher_of(segmentor(8)))
    told = Steps(model)(wrapper_of(model), 1)
    losses = {key for key in told if 'loss' in key and 'decode' not in key}
    assert losses - {key for key in told if 'aux' in key} == {
        'loss',
        'loss_kd_whole_loss',
    }
    assert {'critic_whole_term', 'critic_whole_term_penalty'} <= set(told)


def test_weight_0_leaves_the_student_that_of_the_host() -> None:
    ours = build(loss_weight=0.0)
    torch.manual_seed(0)
    host = MODELS.build(segmentor())
    host.init_weights()
    host.train()
    clip = dict(clip_grad=dict(max_norm=0.5))
    plain = build_optim_wrapper(
        host,
        {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.05}} | clip,
    )
    Steps(ours)(wrapper_of(ours, **clip), 3)
    Steps(host)(plain, 3)
    for name, value in ours.student.state_dict().items():
        assert torch.equal(value, host.state_dict()[name]), name


def test_as_many_steps_of_the_critic_as_told() -> None:
    model = build(steps=3)
    wrapper = wrapper_of(model)
    counts = []
    step = wrapper['holistic_critic'].step
    wrapper['holistic_critic'].step = lambda: counts.append(step())
    Steps(model)(wrapper, 2)
    assert len(counts) == 6


def test_the_critic_steps_with_every_batch_where_the_student_accumulates() -> None:
    model = build()
    wrapper = wrapper_of(model, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 3)
    assert wrapper['student']._max_counts == 3
    steps = Steps(model)
    own, critic = 'student.decode_head.conv_seg.weight', 'losses.holistic.critic.'
    critic += 'score.weight'
    before = weights_of(model)
    steps(wrapper, 1)
    between = weights_of(model)
    steps(wrapper, 1)
    after = weights_of(model)
    assert torch.equal(between[own], before[own])
    assert not torch.equal(after[own], between[own])
    assert not torch.equal(between[critic], before[critic])
    assert not torch.equal(after[critic], between[critic])
    cfg = dict(optimizer=dict(type='Adam', lr=1e-4), accumulative_counts=2)
    with pytest.raises(ConfigError, match='accumulative_counts: it steps with every'):
        wrapper_of(build(optim_wrapper=cfg))


@pytest.mark.parametrize('counts', [1, 2])
def test_a_critic_with_nothing_to_learn_does_not_keep_checkpoints_from_being_saved(
    counts: int,
) -> None:
    model = build(loss_weight=0.0)
    critic = copy.deepcopy(model.losses.holistic.critic.state_dict())
    wrapper = wrapper_of(model, accumulative_counts=counts)
    runner = SimpleNamespace(optim_wrapper=wrapper)
    whole = []
    for _ in range(4):
        Steps(model)(wrapper, 1)
        whole.append(_at_whole_step(runner))
    assert whole == ([True] * 4 if counts == 1 else [False, True] * 2)
    # Whether the pair is alive was seen on a copy.
    for name, value in model.losses.holistic.critic.state_dict().items():
        assert torch.equal(value, critic[name])


def test_one_optimiser_where_two_are_needed_is_refused() -> None:
    model = build()
    single = build_optim_wrapper(
        model.student, {'type': 'OptimWrapper', 'optimizer': {'type': 'SGD', 'lr': 0.1}}
    )
    message = "no optimiser 'holistic_critic'.* Set runner_type='kd_plugins.DistillR"
    for wrapper in (single, OptimWrapperDict(student=single)):
        with pytest.raises(ConfigError, match=message):
            Steps(model)(wrapper, 1)


def test_a_critic_learns_from_a_single_map() -> None:
    loss = dict(type='HolisticLoss', base_channels=8)
    with pytest.raises(ConfigError, match=r'backbone\[0\] is one of 2. Choose one'):
        distiller(
            dict(a=dict(layer='backbone', loss=loss)),
            student=segmentor(),
            teacher=teacher_of(segmentor()),
        )


def test_what_is_trained_apart_is_known_by_name() -> None:
    model = build()
    names = names_of_auxiliary(model.losses)
    assert 'holistic.critic.score.weight' in names
    assert any('parametrizations' in name for name in names)  # buffers too
    assert set(names) == set(model.losses.state_dict())


def test_an_optimiser_that_there_is_not_is_named_by_its_pair() -> None:
    model = build(optim_wrapper=dict(optimizer=dict(type='Sgd', lr=0.1)))
    message = r"pairs\.holistic\.loss\.optim_wrapper\.optimizer: no 'Sgd'. There"
    with pytest.raises(ConfigError, match=message):
        wrapper_of(model)


def test_mixed_precision_is_for_the_student() -> None:
    cfg = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    message = r"optim_wrapper\.type: what it steps computes in float32, got 'Amp"
    with pytest.raises(ConfigError, match=message):
        wrapper_of(build(optim_wrapper=cfg))


def test_without_such_losses_there_is_one_optimiser() -> None:
    model = distiller(
        dict(pixel=dict(view='seg.logits', loss=dict(type='PixelWiseLoss'))),
        student=segmentor(),
        teacher=teacher_of(segmentor(8)),
    )
    assert type(wrapper_of(model)) is OptimWrapper
