"""Shares, suggested weights and verdicts, from norms written by hand."""

import math
from typing import Any

import pytest

from kd_plugins.evaluation.gradients import GradientShares, PairGradient, median_shares
from kd_plugins.evaluation.gradients.table import advice, shares_table


def pair(norm: float, weight: float = 1.0, **changes: Any) -> PairGradient:
    """One whose gradient has this norm at weight 1, at the backbone alone."""
    given: dict[str, Any] = dict(
        key='model.pairs.it',
        weight=weight,
        value=3.0,
        norms=dict(backbone=norm, heads=0.0, whole=norm),
        cosines=dict(backbone=0.5, heads=math.nan, whole=0.4),
        reaches=True,
        alive=norm != 0,
    )
    return PairGradient(**(given | changes))


def shares(task: float = 2.0, **pairs: PairGradient) -> GradientShares:
    norms = dict(backbone=task, heads=0.5, whole=math.hypot(task, 0.5))
    return GradientShares(7.0, norms, pairs)


def test_a_share_is_at_the_backbone_and_at_the_present_weight() -> None:
    found = shares(hint=pair(10.0, weight=0.1))
    assert found.part_of('hint') == 'backbone'
    assert found.gradient('hint') == pytest.approx(1.0)
    assert found.share('hint') == pytest.approx(0.5)
    assert found.share('hint', 'whole') == pytest.approx(1 / math.hypot(2.0, 0.5))
    assert found.cosine('hint') == 0.5


def test_a_pair_that_does_not_reach_the_backbone_is_compared_at_the_heads() -> None:
    norms = dict(backbone=0.0, heads=0.1, whole=0.1)
    cosines = dict(backbone=math.nan, heads=-1.0, whole=-0.1)
    found = shares(head=pair(0.1, norms=norms, cosines=cosines))
    assert found.part_of('head') == 'heads'
    assert found.share('head') == pytest.approx(0.2)
    assert found.cosine('head') == -1.0


@pytest.mark.parametrize('weight', [0.1, 0.0])
def test_the_suggested_weight_gives_the_share(weight: float) -> None:
    found = shares(hint=pair(10.0, weight=weight))
    suggested = found.suggested_weight('hint', 0.25)
    assert suggested == pytest.approx(0.05)
    assert shares(hint=pair(10.0, weight=suggested)).share('hint') == 0.25


@pytest.mark.parametrize('norm', [0.0, math.nan, math.inf])
def test_no_weight_gives_a_share_to_what_has_no_gradient(norm: float) -> None:
    assert shares(hint=pair(norm)).suggested_weight('hint', 0.5) is None
    assert shares(task=norm, hint=pair(1.0)).suggested_weight('hint', 0.5) is None


@pytest.mark.parametrize(
    ('found', 'verdict'),
    [
        (shares(it=pair(0.0)), 'dead'),
        (shares(it=pair(0.0, weight=0.0)), 'dead'),
        (shares(it=pair(math.nan)), 'not finite'),
        (shares(it=pair(math.inf)), 'not finite'),
        (shares(it=pair(5.0, weight=0.0)), 'off'),
        (shares(it=pair(0.0199)), 'faint'),
        (shares(it=pair(0.0, alive=True)), 'faint'),  # the median of several batches
        (shares(it=pair(0.0201)), 'fair'),
        (shares(it=pair(1.99)), 'fair'),
        (shares(it=pair(2.01)), 'dominating'),
        (shares(it=pair(2.01), other=pair(0.1)), 'strong'),
        (shares(it=pair(2.11), other=pair(0.1)), 'dominating'),
        (shares(it=pair(2.11), other=pair(0.1, weight=10.0)), 'strong'),
        (shares(task=0.0, it=pair(0.1)), 'dominating'),
    ],
)
def test_verdicts(found: GradientShares, verdict: str) -> None:
    assert found.verdict('it') == verdict
    failing = ['it'] if verdict in ('dead', 'not finite') else []
    assert found.failing == failing


def test_medians_over_batches() -> None:
    nothing = dict(backbone=math.nan, heads=math.nan, whole=math.nan)
    dead = pair(0.0, reaches=False, cosines=nothing)
    found = median_shares(
        [
            shares(task=1.0, it=dead, never=dead),
            shares(task=2.0, it=pair(4.0, value=5.0), never=dead),
            shares(task=9.0, it=pair(6.0, value=4.0), never=dead),
        ]
    )
    assert found.batches == 3
    assert found.task_norms['backbone'] == 2.0
    it = found.pairs['it']
    assert (it.value, it.norms['backbone'], it.cosines['backbone']) == (4.0, 4.0, 0.5)
    assert found.share('it') == 2.0
    assert it.alive and it.reaches
    assert math.isnan(found.cosine('never'))
    assert found.failing == ['never']


def test_one_batch_that_is_not_finite_makes_the_median_so() -> None:
    found = median_shares([shares(it=pair(norm)) for norm in (1.0, math.nan, 2.0)])
    assert found.verdict('it') == 'not finite'


def test_the_table_has_a_row_a_term_and_says_what_is_measured() -> None:
    found = shares(
        hint=pair(10.0, weight=0.1),
        loud=pair(8.0, key='model.pairs.loud'),
        lost=pair(0.0, key='model.pairs.lost', reaches=False),
    )
    lines = shares_table(found, 0.25).splitlines()
    cells = {line.split()[0]: line.split() for line in lines if line}
    norms = ['2', *['2.062']]
    assert cells['task'] == ['task', '7', 'backbone', *norms]
    assert cells['hint'][:7] == ['hint', '0.3', '0.1', 'backbone', '1', '0.5', '0.50']
    assert cells['hint'][7:] == ['1', '0.4851', '0.05', 'fair']
    assert cells['lost'][1:4] == ['3', '1', '-']
    assert cells['lost'][-2:] == ['-', 'dead']
    text = ' '.join(lines)
    assert "over the trained parameters of the student's backbone" in text
    assert 'weight for 0.25' in text


def test_advice_names_what_to_change() -> None:
    found = shares(
        fair=pair(1.0),
        loud=pair(8.0, key='model.pairs.loud'),
        faint=pair(0.01, key='model.pairs.faint'),
        lost=pair(0.0, key='model.pairs.lost', reaches=False),
        bounded=pair(0.0, key='model.pairs.bounded'),
        broken=pair(math.nan, key='model.pairs.broken'),
    )
    loud, faint, lost, bounded, broken = advice(found, 0.5)
    assert loud.startswith(
        "strong: model.pairs.loud: its gradient is 4 times the task's"
    )
    assert 'loss_weight=0.125 would give it a share of 0.5' in loud
    assert 'below 1%' in faint
    assert 'loss_weight=100 ' in faint
    assert lost.startswith('dead: model.pairs.lost: no graph leads from it')
    assert 'bounded or masked' in bounded
    assert broken.endswith('its gradient holds NaN or infinity.')
