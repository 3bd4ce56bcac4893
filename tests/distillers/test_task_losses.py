"""Weights on the student's own losses, by key or glob."""

from typing import Any

import pytest
import torch

from kd_plugins.distillers.task_losses import TaskLossWeights
from kd_plugins.errors import ConfigError
from kd_plugins.registry import MODELS
from kd_plugins.schedules import Clock

from .tiny import config, distiller, hint, losses_of

ONE = torch.ones(())


def host_losses() -> dict[str, Any]:
    return {
        'loss_rpn_cls': [ONE, 2 * ONE],
        'loss_rpn_bbox': (ONE, ONE),
        's0.loss_cls': ONE,
        's1.loss_cls': ONE,
        'loss_cls': 3 * ONE,
        'acc': 7 * ONE,
    }


def weighted(cfg: Any, clock: Clock | None = None) -> dict[str, Any]:
    return TaskLossWeights(cfg).apply(host_losses(), clock)


def test_exact_keys_globs_and_lists() -> None:
    losses = weighted({'loss_rpn_cls': 0.5, '*.loss_cls': 2, 'loss_rpn_bbox': 0})
    assert losses['loss_rpn_cls'] == [0.5, 1.0]
    assert losses['loss_rpn_bbox'] == [0, 0]
    assert losses['s0.loss_cls'] == losses['s1.loss_cls'] == 2
    assert losses['loss_cls'] == 3 and losses['acc'] == 7


def test_an_exact_key_wins_over_a_glob_however_they_are_ordered() -> None:
    for cfg in (
        {'loss_cls': 10, '*loss_cls': 2},
        {'*loss_cls': 2, 'loss_cls': 10},
    ):
        losses = weighted(cfg)
        assert losses['loss_cls'] == 30 and losses['s0.loss_cls'] == 2


def test_without_weights_the_losses_are_the_same_objects() -> None:
    losses = host_losses()
    assert TaskLossWeights(None).apply(losses, None) is losses


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            {'loss_rpn_clss': 1},
            r"model.task_loss_weights: 'loss_rpn_clss' matches none of the student's "
            r"losses. Close: 'loss_rpn_cls'",
        ),
        ({'acc': 1}, r"'acc' matches none of the student's losses"),
        (
            {'*loss_cls': 1, 's0.*': 2},
            r"'\*loss_cls' and 's0.\*' both match 's0.loss_cls'. Write 's0.loss_cls'",
        ),
        (['loss_cls'], r"^model\.task_loss_weights: must be a dict .* \['loss_cls'\]"),
        (
            {'loss_cls': -0.1},
            r"task_loss_weights\['loss_cls'\]: the factor must be a finite number "
            r'>= 0, got -0\.1',
        ),
        ({'loss_cls': float('nan')}, r'must be a finite number >= 0, got nan'),
        (
            {'loss_cls': dict(type='Ramp2')},
            r"model.task_loss_weights\['loss_cls'\].type: ",
        ),
        (
            {'loss_cls': dict(type='GradientShare')},
            r"model.task_loss_weights\['loss_cls'\]: a GradientShare keeps a pair at a "
            r"share of the task's gradient, and this is .* of the task. Give a number",
        ),
        (
            {'loss_cls': dict(type='LinearRamp', start=0, end=1, until=5)},
            r"model.task_loss_weights\['loss_cls'\]: is a schedule, and "
            r"the iteration is not known. Set runner_type='kd_plugins.DistillRunner'",
        ),
    ],
)
def test_bad_weights(cfg: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        weighted(cfg)


def test_a_weight_may_follow_a_schedule() -> None:
    ramp = dict(type='LinearRamp', start=0, end=1, until=4)
    losses = weighted({'loss_cls': ramp}, Clock(1, 0, 8, None, False))
    assert losses['loss_cls'] == 0.75


def test_the_distiller_weights_the_students_losses_and_not_its_own() -> None:
    plain = losses_of(distiller(dict(a=hint())))
    model = distiller(dict(a=hint()), task_loss_weights={'loss_*': 0.5})
    losses = losses_of(model)
    torch.testing.assert_close(losses['loss_cls'], 0.5 * plain['loss_cls'])
    torch.testing.assert_close(
        losses['loss_rpn_cls'][0], 0.5 * plain['loss_rpn_cls'][0]
    )
    assert torch.equal(losses['loss_kd_a'], plain['loss_kd_a'])
    assert torch.equal(losses['acc'], plain['acc'])


def test_bad_weights_are_told_beside_the_faults_of_the_pairs() -> None:
    cfg = config(dict(a=hint(levels=[7])), task_loss_weights={'loss_cls': -1})
    with pytest.raises(ConfigError, match=r'there is no 7[\s\S]*loss_cls.*got -1'):
        MODELS.build(cfg)
