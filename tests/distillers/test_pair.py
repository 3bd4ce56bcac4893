"""Pairs at work: levels, weights over time, and what must not change the result."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kd_plugins.errors import ConfigError, DistillationError, ShapeError
from kd_plugins.losses import DeltaL2Loss, DistillationLoss
from kd_plugins.registry import LOSSES
from kd_plugins.schedules import Clock

from .tiny import all_pairs, batch, distiller, faster_rcnn, hint, losses_of, teacher_of

RAMP = dict(type='LinearRamp', start=0, end=2, until=10)


def test_per_level_keys_sum_to_the_total() -> None:
    whole = losses_of(distiller(dict(a=hint())))
    levels = losses_of(distiller(dict(a=hint(per_level=True))))
    parts = [levels[f'loss_kd_a_{level}'] for level in range(3)]
    assert len({part.item() for part in parts}) == 3
    torch.testing.assert_close(sum(parts), whole['loss_kd_a'])
    assert 'loss_kd_a' not in levels


def test_a_hint_is_the_mean_over_levels_and_images() -> None:
    from .tiny import observed

    model = distiller(dict(a=hint()))
    with observed(model) as seen:
        expected = torch.stack(
            [
                (item.student - item.teacher).square().mean()
                for item in seen.matched['a']
                if item is not None
            ]
        ).mean()
    torch.testing.assert_close(losses_of(model)['loss_kd_a'], expected)


def test_the_sum_over_levels_is_as_many_times_their_mean() -> None:
    pairs = dict(
        a=hint(), b=hint(levels_reduction='sum'), c=hint(levels_reduction='mean')
    )
    model = distiller(pairs)
    losses = losses_of(model)
    torch.testing.assert_close(losses['loss_kd_b'], 3 * losses['loss_kd_a'])
    assert torch.equal(losses['loss_kd_c'], losses['loss_kd_a'])
    weights = [line.split()[-1] for line in model.summary().splitlines()]
    assert weights.count('each') == 1 and '1 each' in model.summary()


def test_the_summary_has_a_line_between_header_and_pairs() -> None:
    header, line, first, *_ = distiller(dict(a=hint())).summary().splitlines()
    assert header.startswith('pair') and set(line) == {'-', ' '}
    assert first.startswith('a ')


def test_levels_that_are_summed_are_logged_as_they_are() -> None:
    whole = losses_of(distiller(dict(a=hint(levels_reduction='sum'))))
    levels = losses_of(distiller(dict(a=hint(levels_reduction='sum', per_level=True))))
    parts = [levels[f'loss_kd_a_{level}'] for level in range(3)]
    torch.testing.assert_close(sum(parts), whole['loss_kd_a'])
    single = losses_of(distiller(dict(a=hint(levels=[1]))))
    torch.testing.assert_close(parts[1], single['loss_kd_a'])


def test_order_of_the_pairs_changes_no_result() -> None:
    pairs = all_pairs()
    pairs['hint_2'] = hint(adapter=dict(type='ConvAdapter', kernel_size=3))
    models = [
        distiller(dict(items), teacher=teacher_of(faster_rcnn(width=16)))
        for items in (pairs.items(), reversed(pairs.items()))
    ]
    models[1].student.load_state_dict(models[0].student.state_dict())
    for name, value in models[0].adapters.state_dict().items():
        assert torch.equal(value, models[1].adapters.state_dict()[name])
    one, other = (losses_of(model) for model in models)
    assert list(one) == list(other)
    for key in one:
        if key.startswith('loss_kd'):
            assert torch.equal(one[key], other[key]), key


def test_equal_pairs_give_equal_losses() -> None:
    pair = dict(view='roi.logits', loss=dict(type='KDLoss'))
    losses = losses_of(distiller(dict(a=pair, b=pair)))
    assert torch.equal(losses['loss_kd_a'], losses['loss_kd_b'])


def clock(iteration: int, **options: Any) -> Clock:
    values = dict(epoch=0, max_iterations=100, max_epochs=None, by_epoch=False)
    return Clock(iteration, **{**values, **options})


def test_a_weight_follows_its_schedule() -> None:
    pairs = dict(a=hint(), b=hint())
    pairs['a']['loss'] = dict(type='HintLoss', loss_weight=RAMP)
    model = distiller(pairs)
    for iteration, factor in ((0, 0.0), (5, 1.0), (10, 2.0), (50, 2.0)):
        model.set_clock(clock(iteration))
        losses = losses_of(model)
        torch.testing.assert_close(losses['loss_kd_a'], factor * losses['loss_kd_b'])
    assert 'LinearRamp(0 -> 2, iterations 0 to 10)' in model.summary()


def test_a_schedule_without_a_clock_says_who_sets_it() -> None:
    pair = dict(layer='neck', loss=dict(type='HintLoss', loss_weight=RAMP))
    message = (
        r'model.pairs.a.loss.loss_weight: is a schedule, and the '
        r"iteration is not known. Set runner_type='kd_plugins.DistillRunner'"
    )
    with pytest.raises(ConfigError, match=message):
        losses_of(distiller(dict(a=pair)))


def test_a_schedule_in_epochs_needs_a_loop_that_counts_them() -> None:
    ramp = dict(RAMP, by_epoch=True)
    pair = dict(layer='neck', loss=dict(type='HintLoss', loss_weight=ramp))
    model = distiller(dict(a=pair))
    model.set_clock(clock(3))
    with pytest.raises(ConfigError, match=r'model.pairs.a.loss.loss_weight: .*epochs'):
        losses_of(model)
    model.set_clock(clock(3, epoch=1, by_epoch=True, max_epochs=20))
    assert losses_of(model)['loss_kd_a'] > 0


def test_tensors_that_cannot_be_compared_name_the_pair() -> None:
    model = distiller(dict(a=hint()))
    model.pairs[0].loss = DeltaL2Loss()  # wants rows
    with pytest.raises(ShapeError, match=r'model.pairs.a: student must be \(R, D\)'):
        losses_of(model)


@LOSSES.register_module()
class ForgetfulLoss(DistillationLoss):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (teacher - 1).square().mean()


@LOSSES.register_module()
class LearnedLoss(DistillationLoss):
    """Has a parameter, and wants to know everything there is."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.seen: dict[str, Any] = {}

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        target: Tensor | None = None,
        mask: Tensor | None = None,
        avg_factor: Any = None,
        context: Any = None,
    ) -> Tensor:
        self.seen = dict(
            target=target, mask=mask, avg_factor=avg_factor, context=context
        )
        return self.loss_weight * self.scale * (student - teacher).square().mean()


@LOSSES.register_module()
class ToldLoss(LearnedLoss):
    def forward(self, student: Tensor, teacher: Tensor, *, context: Any) -> Tensor:
        return super().forward(student, teacher, context=context)


def test_a_key_of_the_students_own_losses_is_refused() -> None:
    model = distiller(dict(a=hint()))
    forward = model.student.forward
    model.student.forward = lambda *args, **options: dict(
        forward(*args, **options), loss_kd_a=torch.zeros(())
    )
    message = "model.pairs: the student has a loss 'loss_kd_a' of its own. Rename"
    with pytest.raises(ConfigError, match=message):
        losses_of(model)


def test_the_plan_has_no_title_of_its_own() -> None:  # the hook that logs it gives one
    assert distiller(dict(a=hint())).summary().startswith('pair ')


def test_a_loss_without_gradient_is_a_dead_pair() -> None:
    pair = dict(layer='neck', loss=dict(type='ForgetfulLoss'))
    message = (
        r'model.pairs.a: ForgetfulLoss gives no gradient to neck\[0\] of the student. '
        r'Change loss or adapter of model.pairs.a'
    )
    with pytest.raises(DistillationError, match=message):
        losses_of(distiller(dict(a=pair)))


def test_a_loss_is_told_what_it_asks_for_by_name() -> None:
    pair = dict(view='roi.logits', loss=dict(type='LearnedLoss'))
    model = distiller(dict(a=pair))
    losses_of(model)
    seen = model.losses['a'].seen
    assert seen['context'].pair == 'a' and seen['context'].stage == 0
    assert seen['avg_factor'] == seen['mask'].sum() == len(seen['target'])
    step = seen['context'].step
    assert [len(sample.gt_instances) for sample in step.samples] == [2, 1]
    assert torch.equal(step.inputs, batch(model)['inputs'])
    assert step.iteration is None  # nobody told
    model.set_clock(clock(7))
    losses_of(model)
    assert model.losses['a'].seen['context'].step.iteration == 7


def test_a_loss_on_maps_is_told_their_level() -> None:
    pair = dict(layer='neck', levels=[2], loss=dict(type='ToldLoss'))
    model = distiller(dict(a=pair))
    assert model.losses['a'].seen == {}  # the dry run leaves it alone
    losses_of(model)
    context = model.losses['a'].seen['context']
    assert context.level == context.teacher_level == 2


def test_parameters_of_a_loss_are_the_distillers_and_always_in_the_graph() -> None:
    pair = dict(view='roi.logits', loss=dict(type='LearnedLoss', loss_weight=0.0))
    model = distiller(dict(a=pair))
    assert 'losses.a.scale' in model.state_dict()
    for _ in range(2):
        losses_of(model)['loss_kd_a'].backward()
        assert model.losses['a'].scale.grad.item() == 0
