"""What one batch gives, against torch.autograd by hand; and that no trace stays."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from torch import Tensor

from kd_plugins.engine.optimizer import DistillOptimWrapperConstructor
from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.gradients import gradient_shares
from kd_plugins.losses import DistillationLoss
from kd_plugins.random_stream import get_random_state, set_random_state
from kd_plugins.registry import LOSSES
from kd_plugins.schedules import Clock
from tests.distillers.split import SEGMENT_PAIRS
from tests.distillers.tiny import (
    all_pairs,
    distiller,
    faster_rcnn,
    raw_batch,
    teacher_of,
    weights_of,
)
from tests.distillers.tiny_seg import raw_segments, segmentor

pytestmark = pytest.mark.host


def pairs(**weights: Any) -> dict[str, Any]:
    """Hint, and the RoI classifier; by name with these weights."""
    found = {name: all_pairs()[name] for name in ('hint', 'rcn_cls')}
    for name, weight in weights.items():
        found[name]['loss']['loss_weight'] = weight
    return found


def by_hand(model: Any, data: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Loss, and flat gradient at the backbone, of 'task' and of every pair."""
    data = model.data_preprocessor(copy.deepcopy(data), True)
    losses = model(**data, mode='loss')
    values = {
        key.removeprefix('loss_kd_'): losses.pop(key)
        for key in list(losses)
        if key.startswith('loss_kd_')
    }
    values['task'] = model.parse_losses(losses)[0]
    parameters = list(model.student.backbone.parameters())
    gradients = {}
    for name, value in values.items():
        found = torch.autograd.grad(
            value, parameters, retain_graph=True, allow_unused=True
        )
        gradients[name] = torch.cat(
            [
                torch.zeros_like(parameter).flatten()
                if item is None
                else item.flatten()
                for parameter, item in zip(parameters, found, strict=True)
            ]
        )
    return values, gradients


def segmenting(**options: Any) -> Any:
    """A segmentor with a critic."""
    return distiller(SEGMENT_PAIRS, segmentor(), teacher_of(segmentor(8)), **options)


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_values_and_norms_are_those_of_autograd_by_hand(task: str) -> None:
    if task == 'detection':
        weights = dict(task_loss_weights={'loss_rpn_*': 0.5})
        model, data = distiller(pairs(hint=0.3), **weights), raw_batch()
    else:
        model, data = segmenting(), raw_segments()
    state = get_random_state()
    found = gradient_shares(model, data)
    set_random_state(state)  # samplers and dropout draw again what they drew
    values, gradients = by_hand(model, data)
    assert found.task_value == pytest.approx(values['task'].item(), rel=1e-5)
    base = gradients['task']
    assert found.task_norms['backbone'] == pytest.approx(base.norm().item(), rel=1e-4)
    assert set(found.pairs) == set(values) - {'task'}
    for name, pair in found.pairs.items():
        gradient = gradients[name]
        value = values[name].item()
        assert pair.weight * pair.value == pytest.approx(value, rel=1e-5)
        norm = gradient.norm().item()
        assert found.gradient(name) == pytest.approx(norm, rel=1e-4)
        share = norm / base.norm().item()
        assert found.share(name) == pytest.approx(share, rel=1e-4)
        cosine = torch.cosine_similarity(gradient, base, dim=0).item()
        assert found.cosine(name) == pytest.approx(cosine, abs=1e-4)
        whole = math.hypot(pair.norms['backbone'], pair.norms['heads'])
        assert pair.norms['whole'] == pytest.approx(whole, rel=1e-6)


def test_shares_are_linear_in_the_weight_also_from_0() -> None:
    model, data = distiller(pairs()), raw_batch()
    once = gradient_shares(model, data)
    for weight in (0.0, 3.0):
        model.losses['hint'].loss_weight = weight
        found = gradient_shares(model, data)
        assert found.share('hint') == pytest.approx(weight * once.share('hint'))
        assert found.pairs['hint'].weight == weight
        assert found.pairs['hint'].value == pytest.approx(once.pairs['hint'].value)
        suggested = found.suggested_weight('hint', 0.5)
        assert suggested == pytest.approx(once.suggested_weight('hint', 0.5))
        assert found.share('rcn_cls') == pytest.approx(once.share('rcn_cls'))
        assert model.losses['hint'].loss_weight == weight


def test_the_suggested_weight_gives_the_share() -> None:
    model, data = distiller(pairs()), raw_batch()
    weight = gradient_shares(model, data).suggested_weight('rcn_cls', 0.25)
    model.losses['rcn_cls'].loss_weight = weight
    assert gradient_shares(model, data).share('rcn_cls') == pytest.approx(0.25)


def test_a_schedule_is_read_at_the_clock_and_left_alone() -> None:
    ramp = dict(type='LinearRamp', start=0, end=1, begin=0, until=10)
    model, data = distiller(pairs(hint=ramp)), raw_batch()
    with pytest.raises(ConfigError, match='is a schedule, and the iter'):
        gradient_shares(model, data)
    model.set_clock(Clock(0, 0, 10, None, by_epoch=False))
    assert gradient_shares(model, data).verdict('hint') == 'off'
    model.set_clock(Clock(5, 0, 10, None, by_epoch=False))
    assert gradient_shares(model, data).pairs['hint'].weight == 0.5
    pair = model.pairs[0]
    assert pair.schedule is not None
    assert pair.loss is model.losses['hint']


def test_levels_logged_apart_are_one_pair() -> None:
    together = distiller(pairs())
    apart = pairs()
    apart['hint']['per_level'] = True
    found = gradient_shares(distiller(apart), raw_batch())
    expected = gradient_shares(together, raw_batch())
    assert found.pairs.keys() == {'hint', 'rcn_cls'}
    assert found.share('hint') == pytest.approx(expected.share('hint'), rel=1e-5)


@LOSSES.register_module()
class FlatLoss(DistillationLoss):
    """Nothing to learn from: a graph, and a gradient of exactly 0."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss_weight * (0 * student + 1).mean()


@LOSSES.register_module()
class CutLoss(DistillationLoss):
    """No graph at all."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss_weight * (student.detach() - teacher).abs().mean()


def test_dead_pairs_get_a_verdict_and_no_error() -> None:
    frozen = dict(layer='backbone.layer1', loss=dict(type='HintLoss'))
    dead = dict(
        flat=dict(layer='neck', loss=dict(type='FlatLoss')),
        cut=dict(layer='neck', loss=dict(type='CutLoss')),
        frozen=frozen | dict(adapter=dict(type='ConvAdapter')),
    )
    model = distiller(dead | pairs())
    for part in ('conv1', 'bn1', 'layer1'):  # known at build it would be refused there
        model.student.backbone.get_submodule(part).requires_grad_(False)
    found = gradient_shares(model, raw_batch())
    assert found.failing == ['cut', 'flat', 'frozen']
    reached = {name: found.pairs[name].reaches for name in found.failing}
    assert reached == dict(flat=True, cut=False, frozen=False)
    assert found.pairs['frozen'].key == 'model.pairs.frozen'
    assert found.verdict('rcn_cls') not in ('dead', 'not finite')


def test_a_frozen_backbone_leaves_the_heads_to_compare() -> None:
    model = distiller(pairs())
    model.student.backbone.requires_grad_(False)
    found = gradient_shares(model, raw_batch())
    assert found.task_norms['backbone'] == 0
    assert [found.part_of(name) for name in found.pairs] == ['heads', 'heads']
    assert 0 < found.share('hint') < math.inf
    assert found.share('hint') == found.share('hint', 'whole')


# of torch, to the host's blocks; of its own, by torch 2.4
@pytest.mark.filterwarnings('ignore:torch.utils.checkpoint. the use_reentrant')
@pytest.mark.filterwarnings('ignore:.torch.cpu.amp.autocast:FutureWarning')
def test_activation_checkpointing_changes_no_share() -> None:
    plain = gradient_shares(distiller(pairs()), raw_batch())
    student = faster_rcnn(backbone=dict(with_cp=True))
    found = gradient_shares(distiller(pairs(), student), raw_batch())
    for name in found.pairs:
        assert found.share(name) == pytest.approx(plain.share(name), rel=1e-4)


def test_layers_that_the_host_checkpoints_are_those_of_the_copy() -> None:
    model, data = distiller(pairs()), raw_batch()
    plain = gradient_shares(model, data)
    turn_on_activation_checkpointing(model, 'student.backbone.layer1')
    before = weights_of(model)
    found = gradient_shares(model, data)
    assert found.share('hint') == pytest.approx(plain.share('hint'), rel=1e-5)
    assert_equal(weights_of(model), before)  # batch norm's statistics among them
    assert all(parameter.grad is None for parameter in model.parameters())
    assert 'forward' in vars(model.student.backbone.layer1)


def test_a_layer_that_cannot_be_copied_is_named() -> None:
    model = distiller(pairs())
    neck = model.student.neck
    forward = neck.forward
    neck.forward = lambda inputs: forward(inputs)
    with pytest.raises(
        ConfigError, match=r"the forward of 'neck' \(FPN\) was replaced"
    ):
        gradient_shares(model, raw_batch())


def everything(model: Any) -> dict[str, Any]:
    """All that must not change, as tensors and plain values."""
    holistic = model.losses['holistic']
    return dict(
        weights=weights_of(model),
        teachers=weights_of(model.teachers['teacher'].model),
        gradients=[
            None if parameter.grad is None else parameter.grad.clone()
            for parameter in model.parameters()
        ],
        trained=[parameter.requires_grad for parameter in model.parameters()],
        modes=[module.training for module in model.modules()],
        random=get_random_state(),
        own=model.random_stream.state_dict(),
        batch=copy.deepcopy(holistic._batch),
        remaining=holistic._remaining,
        pairs=[(pair.schedule, pair.check, pair.is_active()) for pair in model.pairs],
        unchecked=[sorted(pair._unchecked) for pair in model.pairs],
        loss_weights=[loss.loss_weight for loss in model.losses.values()],
    )


def assert_equal(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for left, right in zip(first, second, strict=True):
            assert_equal(left, right)
    elif isinstance(first, Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def test_nothing_changes_by_it() -> None:
    weights = dict(type='LinearRamp', start=1, end=2, begin=0, until=10)
    chosen = copy.deepcopy(SEGMENT_PAIRS)
    chosen['pixel']['loss']['loss_weight'] = weights
    chosen['pair']['loss']['loss_weight'] = 0.0
    model = distiller(chosen, segmentor(), teacher_of(segmentor(8)))
    model.set_clock(Clock(5, 0, 10, None, by_epoch=False))
    data = raw_segments()
    # In the middle of a training: gradients are there, and what a loss remembers.
    prepared = model.data_preprocessor(copy.deepcopy(data), True)
    model.parse_losses(model(**prepared, mode='loss'))[0].backward()
    assert model.losses['holistic']._batch is not None
    before, batch = everything(model), copy.deepcopy(data)
    teacher = dict(vars(model.teachers['teacher']))
    gradient_shares(model, data)
    assert_equal(everything(model), before)
    assert_equal(data['inputs'], batch['inputs'])
    for sample, kept in zip(data['data_samples'], batch['data_samples'], strict=True):
        assert sample.metainfo == kept.metainfo
    # Nor does anything pile up.
    assert vars(model.teachers['teacher']) == teacher


class _Scaled(OptimWrapper):
    """As with float16: gradients are computed of a larger loss."""

    loss_scaler = SimpleNamespace(get_scale=lambda: 1024.0)


class _BFloat16(OptimWrapper):
    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def test_the_precision_of_the_training_is_used() -> None:
    model, data = distiller(pairs()), raw_batch()
    optimizer = torch.optim.SGD(model.student.parameters(), lr=0.1)
    plain = gradient_shares(model, data)
    scaled = gradient_shares(model, data, optim_wrapper=_Scaled(optimizer))
    assert scaled.task_norms == pytest.approx(plain.task_norms, rel=1e-4)
    assert scaled.share('hint') == pytest.approx(plain.share('hint'), rel=1e-4)
    mixed = gradient_shares(model, data, optim_wrapper=_BFloat16(optimizer))
    assert mixed.task_value != plain.task_value
    # Proposals differ by it, and so does what the task's losses are of.
    assert 0.3 < mixed.share('hint') / plain.share('hint') < 3


class _Half(torch.autograd.Function):
    """The value; its gradient passes through float16."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.half().float()


@LOSSES.register_module()
class HalfLoss(DistillationLoss):
    """As a loss in float16, whose gradient overflows at a large scale."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        value: Tensor = _Half.apply((student - teacher).square().mean())
        return self.loss_weight * value


def test_a_scale_that_overflows_is_lowered_for_the_pair_that_needs_it() -> None:
    low = dict(low=dict(layer='neck', loss=dict(type='HalfLoss')))
    model, data = distiller(pairs() | low), raw_batch()
    optimizer = torch.optim.SGD(model.student.parameters(), lr=0.1)
    plain = gradient_shares(model, data)
    wrapper = _Scaled(optimizer)
    wrapper.loss_scaler = SimpleNamespace(get_scale=lambda: 2.0**20)
    scaled = gradient_shares(model, data, optim_wrapper=wrapper)
    for name in ('hint', 'rcn_cls', 'low'):
        assert scaled.share(name) == pytest.approx(plain.share(name), rel=1e-3)


def test_a_loss_with_an_optimiser_of_its_own() -> None:
    model = segmenting()
    cfg = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    both = DistillOptimWrapperConstructor(cfg)(model)
    found = gradient_shares(model, raw_segments(), optim_wrapper=both)
    assert 0 < found.share('holistic') < math.inf
    assert model.losses['holistic']._batch is None


def test_on_several_ranks_every_backward_pass_leads_through_the_whole_student(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut = dict(cut=dict(layer='neck', loss=dict(type='CutLoss')))
    model, data = distiller(pairs() | cut), raw_batch()
    alone = gradient_shares(model, data)
    monkeypatch.setattr(
        'kd_plugins.evaluation.gradients.gradients.get_world_size', lambda: 2
    )
    found = gradient_shares(model, data)
    assert found.pairs['cut'].reaches  # by zeros
    assert found.failing == alone.failing == ['cut']
    for name in ('hint', 'rcn_cls'):
        assert found.share(name) == pytest.approx(alone.share(name))


def test_the_cosine_of_a_gradient_that_is_not_finite_is_none() -> None:
    model = distiller(pairs(hint=0.3))

    def broken(student: Tensor, teacher: Tensor, **_: Any) -> Tensor:
        return torch.nan * (student - teacher).sum()

    model.losses['hint'].forward = broken
    shares = gradient_shares(model, raw_batch())
    assert math.isnan(shares.cosine('hint'))
    assert shares.verdict('hint') == 'not finite'
