"""What a step runs: active pairs, and the teachers that they ask; it leaves nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_plugins.distillers.step import Matched, average_counts
from kd_plugins.errors import ConfigError
from kd_plugins.losses import DistillationLoss
from kd_plugins.recorders import LayerRecorder
from kd_plugins.registry import LOSSES
from kd_plugins.schedules import Clock
from kd_plugins.views import FrozenRun, MatchedTensors

from .tiny import (
    all_pairs,
    batch,
    distiller,
    faster_rcnn,
    losses_of,
    teacher_of,
    weights_of,
)

CPU = torch.device('cpu')


def on_and_off(*values: float) -> dict[str, Any]:
    """A hint whose weight is another in each iteration."""
    milestones = list(range(1, len(values)))
    schedule = dict(type='StepSchedule', values=list(values), milestones=milestones)
    return hint_of(schedule)


def hint_of(weight: Any, layer: str = 'neck', **changes: Any) -> dict[str, Any]:
    loss = dict(type='HintLoss', loss_weight=weight)
    return dict(layer=layer, loss=loss, **changes)


def step_of(model: Any, **options: Any) -> Any:
    prepared = batch(model)
    return model.step(prepared['inputs'], prepared['data_samples'], **options)


def calls_of(module: nn.Module) -> list[int]:
    """Grows by one entry with every forward of the module."""
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def matches_of(pair: Any) -> list[int]:
    """Grows by one entry whenever the pair is matched."""
    calls: list[int] = []
    match = pair.view.match

    def counted(*args: Any) -> Any:
        calls.append(1)
        return match(*args)

    pair.view = replace(pair.view, match=counted)
    return calls


def values_at(model: Any, *iterations: int, key: str = 'loss_kd_a') -> list[float]:
    """Loss of a pair in steps at these iterations."""
    values = []
    for iteration in iterations:
        model.set_clock(Clock(iteration, 0, 100, None, by_epoch=False))
        values.append(losses_of(model)[key].item())
    return values


# Pairs and teachers that have nothing to do.


def test_a_pair_of_weight_0_is_matched_in_the_first_step_alone() -> None:
    model = distiller(dict(a=hint_of(0.0)))
    (pair,) = model.pairs
    runs, matches = calls_of(model.teachers['teacher'].model.backbone), matches_of(pair)
    for _ in range(3):
        assert losses_of(model)['loss_kd_a'] == 0
        assert len(runs) == len(matches) == 1
    pair.loss.loss_weight = 1.0
    assert losses_of(model)['loss_kd_a'] > 0
    assert len(runs) == len(matches) == 2


def test_a_schedule_that_goes_to_0_and_comes_back_stops_the_teacher_meanwhile() -> None:
    model = distiller(dict(a=on_and_off(1.0, 0.0, 2.0)))
    runs = calls_of(model.teachers['teacher'].model.backbone)
    matches = matches_of(model.pairs[0])
    seen = []
    for iteration in range(3):
        (value,) = values_at(model, iteration)
        seen.append((value > 0, len(runs), len(matches)))
    assert seen == [(True, 1, 1), (False, 1, 1), (True, 2, 2)]
    once, twice = values_at(model, 0, 2)
    assert twice == pytest.approx(2 * once)


def test_a_teacher_whose_pairs_are_all_off_does_not_run_beside_one_that_does() -> None:
    model = distiller(
        dict(
            a=on_and_off(1.0, 0.0, 1.0) | dict(teacher='big'),
            b=hint_of(0.0, teacher='big'),
            c=hint_of(1.0, teacher='small'),
        ),
        teacher=dict(big=teacher_of(faster_rcnn()), small=teacher_of(faster_rcnn())),
    )
    runs = {
        name: calls_of(teacher.model.backbone)
        for name, teacher in model.teachers.items()
    }
    matches = {pair.name: matches_of(pair) for pair in model.pairs}
    counts = []
    for iteration in range(3):
        values_at(model, iteration)
        counts.append({name: len(calls) for name, calls in (runs | matches).items()})
    assert counts == [
        dict(big=1, small=1, a=1, b=1, c=1),
        dict(big=1, small=2, a=1, b=1, c=2),
        dict(big=2, small=3, a=2, b=1, c=3),
    ]
    model.set_clock(Clock(1, 0, 100, None, by_epoch=False))
    with step_of(model) as step:
        assert step.active == {'c'} and list(step.teachers) == ['small']


def test_a_teacher_runs_no_farther_than_its_active_pairs_ask() -> None:
    pairs = dict(near=hint_of(1.0, 'backbone'), far=hint_of(0.0))
    model = distiller(pairs)
    necks = calls_of(model.teachers['teacher'].model.neck)
    losses_of(model)
    losses_of(model)
    assert len(necks) == 1  # in the first step, for the check


def test_without_gradients_a_pair_of_weight_0_stays_to_be_checked() -> None:
    model = distiller(dict(a=hint_of(0.0)))
    matches = matches_of(model.pairs[0])
    (pair,) = model.pairs
    with torch.no_grad():
        losses_of(model)
        assert not matches
        pair.loss.loss_weight = 1.0
        losses_of(model)
        pair.loss.loss_weight = 0.0
    assert len(matches) == 1
    for _ in range(2):
        losses_of(model)
        assert len(matches) == 2


def test_a_loss_draws_from_the_distillers_stream_and_the_host_draws_as_before() -> None:
    drawn = dict(type='MGDLoss', loss_weight=1.0)
    model = distiller(dict(a=dict(layer='neck', loss=drawn)))
    model.loss(**batch(model))  # its first step, which also checks the pair
    prepared = batch(model)
    torch.manual_seed(0)
    model.student(**prepared, mode='loss')
    after_the_student = torch.get_rng_state()
    ours = model.random_stream.state_dict()['torch']
    torch.manual_seed(0)
    model.loss(**prepared)
    assert torch.equal(torch.get_rng_state(), after_the_student)
    assert not torch.equal(model.random_stream.state_dict()['torch'], ours)


def hooked(model: nn.Module) -> set[str]:
    """Names of the layers that somebody records."""
    return {
        name
        for name, module in model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    }


def test_recorders_of_pairs_that_are_off_are_not_attached() -> None:
    model = distiller(
        dict(
            off=hint_of(0.0),
            proposals=dict(view='rpn.logits', loss=dict(type='KDLoss', loss_weight=0)),
            on=hint_of(1.0, 'backbone.layer2'),
        )
    )
    teacher = model.teachers['teacher'].model
    with step_of(model) as step:  # the first: all are tried
        assert hooked(model.student) == {'neck', 'rpn_head', 'backbone.layer2'}
        assert hooked(teacher) == {'neck', 'backbone.layer2'}
    losses_of(model)
    with step_of(model) as step:
        assert hooked(model.student) == hooked(teacher) == {'backbone.layer2'}
        assert step.student.records[LayerRecorder('backbone.layer2')].outputs == []
        with pytest.raises(KeyError):
            _ = step.student.records[LayerRecorder('neck')]
    with step_of(model, pairs=['off']):
        assert hooked(model.student) == hooked(teacher) == {'neck'}


@LOSSES.register_module()
class ScaledHintLoss(DistillationLoss):
    """Learns a scale with the student."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss_weight * (self.scale * student - teacher).square().mean()


def test_the_0_of_a_pair_that_is_off_leads_through_all_its_parameters() -> None:
    """DDP waits for each of them in every step."""
    loss = dict(type='ScaledHintLoss', loss_weight=0.0)
    adapter = dict(type='ConvAdapter')
    pairs = dict(a=dict(layer='neck', adapter=adapter, loss=loss))
    model = distiller(pairs, teacher=teacher_of(faster_rcnn(width=16)))
    losses_of(model)
    ours = [*model.adapters.parameters(), *model.losses.parameters()]
    assert len(ours) > 3
    with step_of(model) as step:
        assert not step.active and not step.teachers
        model.task_losses(step)
        (found,) = model.pairs[0].losses(step, model.match(step).get('a')).values()
    assert found == 0
    found.backward()
    for parameter in ours:
        assert parameter.grad is not None and not parameter.grad.any()


# Both models are as they were before.


def traces_of(model: Any) -> list[Any]:
    """What anybody could have left on student and teacher: hooks, methods, modes."""
    return [
        (
            name,
            module.training,
            *map(len, (module._forward_hooks, module._forward_pre_hooks)),
            {key for key, value in vars(module).items() if callable(value)},
        )
        for each in (model.student, model.teachers['teacher'].model)
        for name, module in each.named_modules()
    ]


def test_a_frozen_step_predicts_and_changes_nothing() -> None:
    model = distiller(all_pairs())
    losses_of(model)
    model.student.backbone.bn1.eval()  # as norms of a frozen stage are
    before, state = traces_of(model), weights_of(model)
    draws = torch.get_rng_state()
    with step_of(model, pairs=['hint', 'rpn_cls'], frozen=True) as step:
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        assert step.active == {'hint', 'rpn_cls'}
        assert isinstance(step.student, FrozenRun)
        outputs = step.student.records[LayerRecorder('neck')].outputs
        expected = model.student.extract_feat(step.inputs)
        for one, features, other in zip(
            outputs, step.student.features, expected, strict=False
        ):
            assert torch.equal(one, features) and torch.equal(one, other)
            assert not one.requires_grad
    assert torch.is_grad_enabled()
    assert model.training and not model.student.backbone.bn1.training
    assert traces_of(model) == before
    assert torch.equal(torch.get_rng_state(), draws)
    after = weights_of(model)
    assert state.keys() == after.keys() and any('running' in name for name in state)
    assert all(torch.equal(value, after[name]) for name, value in state.items())


def test_a_frozen_step_asks_the_teacher_for_these_pairs_even_if_they_are_off() -> None:
    pairs = dict(a=hint_of(0.0), b=hint_of(1.0, 'backbone.layer2'))
    model = distiller(pairs)
    losses_of(model)
    with step_of(model, pairs=['a'], frozen=True) as step:
        (run,) = step.teachers.values()
        assert len(run.records[LayerRecorder('neck')].outputs) == 3
        assert [recorder for recorder, _ in step.student.records.items()] == [
            LayerRecorder('neck')
        ]
    with step_of(model, pairs=[], frozen=True) as step:
        assert not step.active and not step.teachers
        assert step.student.features is not None


def test_a_frozen_step_of_named_pairs_need_not_know_the_time() -> None:
    """As pictures of a checkpoint do not, whatever schedules its pairs have."""
    model = distiller(dict(a=on_and_off(1.0, 0.0)))
    with step_of(model, pairs=['a'], frozen=True) as step:
        assert step.active == {'a'} and list(step.teachers) == ['teacher']
    with pytest.raises(ConfigError, match='the iteration is not known'):
        losses_of(model)


def test_a_step_of_pairs_that_there_are_not_is_refused() -> None:
    model = distiller(dict(hint=hint_of(1.0), h=hint_of(1.0, 'backbone')))
    for pairs in (['hnt'], 'hint'):  # a name is no list of names
        with (
            pytest.raises(ConfigError, match=r"there is no pair '(hnt|i)'"),
            step_of(model, pairs=pairs),
        ):
            pass


class Interrupted(Exception):
    """By whoever runs the step."""


@pytest.mark.parametrize('frozen', [False, True], ids=['training', 'frozen'])
def test_an_exception_leaves_no_trace_either(frozen: bool) -> None:
    model = distiller(all_pairs())
    before = traces_of(model)

    def interrupt() -> None:
        with step_of(model, frozen=frozen) as step:
            assert traces_of(model) != before
            assert isinstance(step.student, FrozenRun) == frozen
            raise Interrupted

    with pytest.raises(Interrupted):
        interrupt()
    assert traces_of(model) == before
    assert torch.is_grad_enabled()
    assert losses_of(model)['loss_kd_hint'] > 0


def test_a_student_that_fails_leaves_no_trace() -> None:
    model = distiller(all_pairs())
    before = traces_of(model)
    draws = model.random_stream.state_dict()['torch'].clone()

    def fail(*args: Any) -> Any:
        raise Interrupted

    handle = model.student.roi_head.bbox_head.register_forward_hook(fail)
    with pytest.raises(Interrupted):
        losses_of(model)
    handle.remove()
    assert traces_of(model) == before
    assert torch.equal(model.random_stream.state_dict()['torch'], draws)


# Ranks that matched different pairs.


def rows(count: float | Tensor) -> MatchedTensors:
    return MatchedTensors(torch.zeros(1, 2), torch.zeros(1, 2), count=count)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What is sent, as if there were a second rank that sends zeros."""
    sent: list[Tensor] = []

    def all_reduce(tensor: Tensor, op: str) -> None:
        assert op == 'mean'
        sent.append(tensor.clone())
        tensor /= 2

    monkeypatch.setattr('kd_plugins.distillers.step.get_world_size', lambda: 2)
    monkeypatch.setattr('kd_plugins.distillers.step.all_reduce', all_reduce)
    return sent


def test_counts_are_one_message_as_long_on_every_rank(messages: list[Tensor]) -> None:
    numbers = dict(a=2, b=1, c=3)
    all_matched: Matched = {
        'a': [rows(4.0), rows(torch.tensor(6.0))],
        'b': [rows(1.0)],
        'c': [rows(2.0), None, rows(8)],
    }
    average_counts(all_matched, numbers, CPU)
    one = rows(10.0)
    average_counts({'b': [one]}, numbers, CPU)
    average_counts({}, numbers, CPU)
    assert [message.tolist() for message in messages] == [
        [4.0, 6.0, 1.0, 2.0, 0.0, 8.0],
        [0.0, 0.0, 10.0, 0.0, 0.0, 0.0],
        [0.0] * 6,
    ]
    averages = {
        name: [None if item is None else item.count for item in items]
        for name, items in all_matched.items()
    }
    assert averages == dict(a=[2.0, 3.0], b=[0.5], c=[1.0, None, 4.0])
    assert one.count == 5.0


def test_a_step_sends_as_long_a_message_with_any_pairs(messages: list[Tensor]) -> None:
    model = distiller(all_pairs())
    for pairs in (None, ['rcn_cls'], []):
        with step_of(model, pairs=pairs) as step:
            model.task_losses(step)
            model.match(step)
    slots = sum(len(pair.tensors) for pair in model.pairs)
    assert [len(message) for message in messages] == [slots] * 3
    assert (messages[0] > 0).all() and not messages[2].any()
    assert (messages[1] > 0).sum() == 1


def test_without_any_pair_nothing_is_sent(messages: list[Tensor]) -> None:
    average_counts({}, {}, CPU)
    assert messages == []


@LOSSES.register_module()
class DrawingLoss(DistillationLoss):
    """Compares pixels that it draws."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        kept = torch.rand_like(student).round()
        return self.loss_weight * (kept * (student - teacher)).square().mean()


def test_what_a_check_draws_shifts_no_draw_of_others() -> None:
    """A resumed run checks again, where the uninterrupted one did so long before."""

    def drawing(weight: float) -> dict[str, Any]:
        return dict(layer='neck', loss=dict(type='DrawingLoss', loss_weight=weight))

    values = []
    for checked in (True, False):
        model = distiller(dict(off=drawing(0.0), on=drawing(1.0)))
        off, _ = model.pairs
        off.check = checked
        values.append(losses_of(model)['loss_kd_on'].item())
    assert values[0] == values[1]


def test_a_check_moves_no_statistics_of_an_adapter() -> None:
    adapter = dict(type='ConvAdapter', norm=True)
    model = distiller(dict(a=hint_of(0.0, adapter=adapter)))
    before = {name: value.clone() for name, value in model.adapters.named_buffers()}
    losses_of(model)
    after = dict(model.adapters.named_buffers())
    assert before and all(
        torch.equal(value, after[key]) for key, value in before.items()
    )
