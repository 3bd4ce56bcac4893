"""Warnings while training and the verdict at the end, on shares written by hand."""

from dataclasses import replace
from typing import Any

import pytest

from kd_plugins.evaluation.gradients import (
    PairAlarms,
    PairShare,
    ShareMeasurement,
    run_verdict,
)
from kd_plugins.evaluation.gradients.alarms import ZERO_ITERATIONS, alarm_moments

KEY = 'model.pairs.hint'
FAIR = PairShare(KEY, 2.0, 0.5, 'backbone', 0.1, 3.0, 'fair')
OFF = replace(FAIR, weight=0.0, share=0.0, verdict='off')
DEAD = replace(FAIR, share=0.0, cosine=None, verdict='dead')
BROKEN = replace(FAIR, share=None, verdict='not finite')


def at(share: float, **changes: Any) -> PairShare:
    return replace(FAIR, share=share, **changes)


def measured(iteration: int = 0, **pairs: PairShare) -> ShareMeasurement:
    norms = dict(backbone=1.0, heads=1.0, whole=2.0)
    return ShareMeasurement(0, iteration, 1000, 1.0, norms, pairs)


def warnings_of(*pairs: PairShare) -> list[str]:
    alarms = PairAlarms()
    return [
        warning
        for pair in pairs
        for warning in alarms.observe_shares(measured(hint=pair))
    ]


# Shares


@pytest.mark.parametrize(
    ('pair', 'words'),
    [
        (at(8.0), "its gradient was 8, 8, 8 times the task's"),
        (at(0.002), "its gradient was 0.002, 0.002, 0.002 times the task's"),
        (DEAD, 'its gradient was 0, in 3 measurements'),
        (BROKEN, 'its gradient was not finite, in 3 measurements'),
    ],
)
def test_three_in_a_row_are_one_warning_and_never_repeated(
    pair: PairShare, words: str
) -> None:
    assert warnings_of(pair, pair) == []
    (warning,) = warnings_of(*[pair] * 9)
    assert warning.startswith(f'{KEY}: ')
    assert words in warning


@pytest.mark.parametrize('share', [0.01, 0.5, 5.0])
def test_a_share_within_is_no_warning(share: float) -> None:
    assert warnings_of(*[at(share)] * 5) == []


def test_a_share_that_is_wanted_is_no_warning() -> None:
    assert warnings_of(*[at(0.003, wanted=0.005)] * 5) == []
    assert warnings_of(*[at(9.0, wanted=3.0)] * 5) == []
    assert len(warnings_of(*[at(0.0004, wanted=0.005)] * 5)) == 1
    assert len(warnings_of(*[at(31.0, wanted=3.0)] * 5)) == 1


def test_one_share_within_begins_the_row_anew() -> None:
    assert warnings_of(at(8.0), at(8.0), FAIR, at(8.0), at(8.0)) == []
    assert warnings_of(at(8.0), at(8.0), at(0.001), at(8.0), at(8.0)) == []
    assert len(warnings_of(at(8.0), FAIR, *[at(8.0)] * 3)) == 1


def test_a_pair_without_a_weight_is_not_meant() -> None:
    assert warnings_of(*[OFF] * 5) == []
    # It neither ends a row nor counts in it.
    assert warnings_of(at(8.0), at(8.0), OFF) == []
    assert len(warnings_of(at(8.0), at(8.0), OFF, at(8.0))) == 1


def test_a_task_without_a_gradient_is_no_fault_of_the_pair() -> None:
    assert warnings_of(*[replace(FAIR, share=None, verdict='strong')] * 5) == []


def test_each_kind_and_each_pair_is_warned_of_once() -> None:
    assert len(warnings_of(*[at(8.0)] * 4, *[at(0.001)] * 4, *[at(8.0)] * 4)) == 2
    alarms = PairAlarms()
    both = measured(hint=at(8.0), other=replace(at(8.0), key='model.pairs.other'))
    found = [warning for _ in range(4) for warning in alarms.observe_shares(both)]
    assert [warning.split(':')[0] for warning in found] == [KEY, 'model.pairs.other']


@pytest.mark.parametrize(('share', 'weight'), [(8.0, '0.125'), (0.002, '500')])
def test_the_remedy_is_a_weight_or_a_gradient_share(share: float, weight: str) -> None:
    (warning,) = warnings_of(*[at(share)] * 3)
    assert f'{KEY}.loss.loss_weight={weight} instead of 2 would give sha' in warning
    assert "dict(type='GradientShare', share=0.5) keeps it there" in warning


def test_a_balanced_pair_at_its_bound_is_told_the_bound() -> None:
    (warning,) = warnings_of(*[at(0.002, wanted=0.5)] * 3)
    assert 'Its GradientShare wants 0.5, and 2 is the nearest weight within' in warning
    assert f'change min_weight and max_weight of {KEY}.loss.loss_weight' in warning


def test_a_dead_pair_is_told_to_compare_something_else() -> None:
    (warning,) = warnings_of(*[DEAD] * 3)
    assert f'change its layer, view or loss, or set {KEY}=None' in warning


# Losses


def test_a_loss_of_exactly_0_is_a_warning_after_so_many_iterations_and_once() -> None:
    alarms = PairAlarms()
    found = [alarms.observe_loss('hint', KEY, 0.5, 0.0) for _ in range(500)]
    assert [number for number, each in enumerate(found, 1) if each] == [ZERO_ITERATIONS]
    (warning,) = filter(None, found)
    assert warning.startswith(f'{KEY}: its loss was exactly 0 in 100 iterations in a r')
    assert f'set {KEY}=None' in warning
    assert alarms.always_zero == {'hint'}


def test_a_loss_that_was_not_always_0_begins_anew() -> None:
    alarms = PairAlarms()
    for _ in range(3):
        for _ in range(ZERO_ITERATIONS - 1):
            assert alarms.observe_loss('hint', KEY, 0.5, 0.0) is None
        assert alarms.observe_loss('hint', KEY, 0.5, 1e-12) is None
    assert alarms.always_zero == set()


def test_at_weight_0_a_loss_of_0_is_meant() -> None:
    alarms = PairAlarms()
    assert not any(alarms.observe_loss('hint', KEY, 0.0, 0.0) for _ in range(500))
    assert alarms.always_zero == set()


# Moments


@pytest.mark.parametrize('pairs', [1, 2, 5, 9])
@pytest.mark.parametrize('length', [2, 60, 400, 1000, 1500, 4000, 90_000])
def test_measuring_for_alarms_takes_one_percent_at_most(
    length: int, pairs: int
) -> None:
    moments = alarm_moments(length, pairs)
    assert len(moments) * (1 + 0.45 * pairs) <= 0.01 * length
    assert len(moments) <= 20
    assert all(0 < moment < 0.95 * length for moment in moments)


def test_three_moments_fit_into_the_embedded_runs_and_none_into_a_trial() -> None:
    assert sorted(alarm_moments(1000, 5)) == [62, 250, 562]
    assert len(alarm_moments(1500, 1)) == 10
    assert not alarm_moments(100, 1)


# The verdict


def test_a_verdict_is_by_the_median_over_what_had_a_weight() -> None:
    run = [
        measured(0, hint=OFF, loud=at(9.0), faint=at(0.003), lost=DEAD, off=OFF),
        measured(1, hint=at(0.4), loud=at(7.0), faint=at(9.0), lost=DEAD, off=OFF),
        measured(2, hint=at(0.6), loud=at(1.0), faint=at(0.001), lost=DEAD, off=OFF),
    ]
    verdict = run_verdict(run, weights={'hint': 3.5})
    assert verdict is not None and verdict.measurements == 3
    kinds = {name: pair.verdict for name, pair in verdict.pairs.items()}
    assert kinds == dict(
        hint='fair', loud='dominating', faint='faint', lost='dead', off='off'
    )
    hint = verdict.pairs['hint']
    assert (hint.share, hint.weight, hint.key, hint.advice) == (0.5, 3.5, KEY, '')
    assert verdict.pairs['loud'].weight == 2.0  # that of the last measurement
    assert 'loss_weight=0.143 instead of 2 would' in verdict.pairs['loud'].advice
    assert verdict.sentence == (
        '1 of 5 pairs had a fair share; dominating: loud; faint: faint; dead: lost; '
        'off: off.'
    )


def test_a_verdict_prints_a_line_a_pair_and_a_sentence_on_the_whole() -> None:
    verdict = run_verdict([measured(hint=FAIR, other=at(1.25))])
    assert str(verdict).splitlines() == [
        'pair    share    weight    verdict',
        'hint    0.5      2         fair',
        'other   1.25     2         fair',
        "All 2 pairs had a fair share of the student's gradient.",
    ]
    loud = str(run_verdict([measured(hint=at(8.0))])).splitlines()
    assert loud[1] == 'hint    8        2         dominating'
    assert loud[2].startswith(f'{KEY}.loss.loss_weight=0.125')
    assert loud[3] == '0 of 1 pairs had a fair share; dominating: hint.'


def test_a_loss_that_was_always_0_is_dead_whatever_was_measured() -> None:
    verdict = run_verdict([measured(hint=FAIR)], always_zero={'hint'})
    assert verdict is not None
    assert verdict.pairs['hint'].verdict == 'dead'


def test_a_pair_that_was_never_finite_says_so() -> None:
    verdict = run_verdict([measured(hint=BROKEN)])
    assert verdict is not None
    hint = verdict.pairs['hint']
    assert (hint.verdict, hint.share) == ('not finite', None)
    assert f'Lower {KEY}.loss.loss_weight' in hint.advice


def test_a_pair_without_any_number_gets_advice_too() -> None:
    verdict = run_verdict(
        [measured(hint=replace(FAIR, share=None)), measured(hint=DEAD)]
    )
    assert verdict is not None
    assert f'or set {KEY}=None' in verdict.pairs['hint'].advice


def test_without_measurements_there_is_no_verdict() -> None:
    assert run_verdict([]) is None
