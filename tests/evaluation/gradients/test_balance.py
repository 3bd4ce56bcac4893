"""Weights that follow shares written by hand; shares at weights not measured yet."""

from typing import Any

import pytest
import torch

from kd_plugins.errors import ConfigError
from kd_plugins.evaluation.gradients import balance_weights, gradient_shares
from kd_plugins.evaluation.gradients.balance import (
    assume_weights,
    due,
    load_states,
    mean_over_ranks,
    states_of,
)
from kd_plugins.schedules import Clock
from tests.distillers.tiny import all_pairs, distiller, raw_batch

from .test_shares import pair, shares

pytestmark = pytest.mark.host
BALANCE = dict(type='GradientShare', share=0.5, interval=2)


def clock(iteration: int) -> Clock:
    return Clock(iteration, 0, 100, None, by_epoch=False)


def model_with(**weights: Any) -> Any:
    """Hint, and the RoI classifier, by name with these weights."""
    chosen = {name: all_pairs()[name] for name in ('hint', 'rcn_cls')}
    for name, weight in weights.items():
        chosen[name]['loss']['loss_weight'] = weight
    model = distiller(chosen)
    model.set_clock(clock(0))
    return model


def test_the_weights_that_are_due_follow_and_others_stay() -> None:
    model = model_with(hint=BALANCE)
    # The task's gradient is 2: at weight 1 that of both pairs is 10.
    measured = shares(hint=pair(10.0, weight=0.0), rcn_cls=pair(10.0, weight=3.0))
    assert due(model.pairs, clock(0)) == ['hint']
    found = balance_weights(model.pairs, measured, clock(0))
    assert found.share('hint') == pytest.approx(0.5)
    assert found.pairs['hint'].weight == pytest.approx(0.1)
    assert found.pairs['rcn_cls'].weight == 3.0
    # At 7 nothing is due: what others measure there changes no weight.
    louder = shares(hint=pair(99.0), rcn_cls=pair(99.0))
    assert due(model.pairs, clock(7)) == []
    later = balance_weights(model.pairs, louder, clock(7))
    assert later.pairs['hint'].weight == pytest.approx(0.1)


@pytest.mark.parametrize('norm', [0.0, float('nan'), float('inf')])
def test_a_pair_without_a_gradient_rests_until_it_has_one(norm: float) -> None:
    model = model_with(hint=BALANCE)
    measured = shares(hint=pair(norm), rcn_cls=pair(1.0))
    found = balance_weights(model.pairs, measured, clock(0))
    assert found.pairs['hint'].weight == 0.0
    better = shares(hint=pair(4.0), rcn_cls=pair(1.0))
    found = balance_weights(model.pairs, better, clock(2))
    assert found.pairs['hint'].weight == pytest.approx(0.25)


def test_what_has_no_weight_yet_is_measured_at_1() -> None:
    fixed = gradient_shares(model_with(), raw_batch())
    model = model_with(hint=BALANCE)
    found = gradient_shares(model, raw_batch())
    assert found.pairs['hint'].weight == 0.0
    assert found.pairs['hint'].norms == fixed.pairs['hint'].norms
    balanced = balance_weights(model.pairs, found, clock(0))
    assert balanced.share('hint') == pytest.approx(0.5)
    # Of one that has not begun, the weight is that of the start.
    later = model_with(hint=dict(BALANCE, begin=10, start=0.25))
    assert gradient_shares(later, raw_batch()).pairs['hint'].weight == 0.25


def test_a_step_is_refused_without_a_measurement_and_timed_with_an_assumed_one() -> (
    None
):
    model = model_with(hint=BALANCE)
    data = model.data_preprocessor(raw_batch(), True)
    message = r'^model.pairs.hint.loss.loss_weight: is a GradientShare, and nothing mea'
    with pytest.raises(ConfigError, match=message):
        model(**data, mode='loss')
    assume_weights(model.pairs)
    model(**data, mode='loss')
    assert model.losses['hint'].loss_weight == 1.0
    measured = balance_weights(
        model.pairs, shares(hint=pair(10.0), rcn_cls=pair(1.0)), clock(0)
    )
    weight = measured.pairs['hint'].weight
    assume_weights(model.pairs)
    model(**data, mode='loss')
    assert model.losses['hint'].loss_weight == weight


def test_states_are_those_of_the_balanced_pairs_by_name() -> None:
    model, other = model_with(hint=BALANCE), model_with(hint=BALANCE)
    balance_weights(model.pairs, shares(hint=pair(10.0), rcn_cls=pair(1.0)), clock(0))
    states = states_of(model.pairs)
    assert states.keys() == {'hint'}
    load_states(other.pairs, states | {'gone': states['hint']})
    assert states_of(other.pairs) == states
    new = model_with(rcn_cls=BALANCE)
    load_states(new.pairs, states)
    assert due(new.pairs, clock(7)) == ['rcn_cls']


def test_of_one_process_the_mean_is_its_own() -> None:
    measured = shares(hint=pair(10.0))
    assert mean_over_ranks(measured, torch.device('cpu')) is measured


def test_of_two_processes_norms_and_values_are_averaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kd_plugins.evaluation.gradients import balance

    here = shares(task=2.0, hint=pair(10.0), lost=pair(0.0, reaches=False))
    there = torch.full((1 + 3 + 2 * 8,), 4.0, dtype=torch.float64)

    def all_reduce(flat: torch.Tensor, op: str) -> None:
        assert op == 'mean' and flat.shape == there.shape
        flat.copy_((flat + there) / 2)

    monkeypatch.setattr(balance, 'get_world_size', lambda: 2)
    monkeypatch.setattr(balance, 'all_reduce', all_reduce)
    found = mean_over_ranks(here)
    assert found.task_value == (7.0 + 4.0) / 2
    assert found.task_norms['backbone'] == 3.0
    assert found.pairs['hint'].norms['backbone'] == 7.0
    assert found.pairs['hint'].value == 3.5
    # Dead here and alive there is alive.
    lost = found.pairs['lost']
    assert lost.alive and lost.reaches and lost.norms['heads'] == 2.0
