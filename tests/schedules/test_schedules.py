"""Weights over time: values by hand, and errors that name the key."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_plugins.errors import ConfigError
from kd_plugins.schedules import (
    Clock,
    CosineRamp,
    LinearRamp,
    Schedule,
    StepSchedule,
    build_schedule,
)


def iterations(iteration: int, most: int | None = 100) -> Clock:
    """The clock of a loop that counts iterations."""
    return Clock(
        iteration, epoch=0, max_iterations=most, max_epochs=None, by_epoch=False
    )


def epochs(epoch: int, most: int | None = 12, iteration: int = 0) -> Clock:
    """The clock of a loop that counts epochs."""
    return Clock(
        iteration, epoch=epoch, max_iterations=1200, max_epochs=most, by_epoch=True
    )


# Values


@pytest.mark.parametrize(
    ('iteration', 'expected'),
    [(0, 0.5), (10, 0.5), (11, 0.525), (30, 1.0), (50, 1.5), (51, 1.5), (99, 1.5)],
)
def test_linear_ramp_by_hand(iteration: int, expected: float) -> None:
    ramp = LinearRamp(start=0.5, end=1.5, begin=10, until=50)
    assert ramp(iterations(iteration)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ('iteration', 'expected'),
    [(0, 2.0), (10, 2.0), (20, 2 - (2 - math.sqrt(2)) / 2), (30, 1.0), (50, 0.0)],
)
def test_cosine_ramp_by_hand(iteration: int, expected: float) -> None:
    ramp = CosineRamp(start=2, end=0, begin=10, until=50)
    assert ramp(iterations(iteration)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ('iteration', 'expected'), [(0, 1.0), (9, 1.0), (10, 0.5), (29, 0.5), (30, 0.0)]
)
def test_steps_by_hand(iteration: int, expected: float) -> None:
    schedule = StepSchedule(values=[1, 0.5, 0], milestones=[10, 30])
    assert schedule(iterations(iteration)) == expected


def test_a_ramp_ends_with_the_training_by_default() -> None:
    ramp = LinearRamp(start=0, end=1)
    assert ramp(iterations(25)) == 0.25
    assert ramp(iterations(25, most=50)) == 0.5
    assert LinearRamp(start=0, end=1, by_epoch=True)(epochs(3)) == 0.25


def test_epochs_are_counted_where_asked() -> None:
    clock = epochs(6, iteration=700)
    by_epoch = StepSchedule(values=[1, 2], milestones=[6], by_epoch=True)
    assert by_epoch(clock) == 2
    assert by_epoch(epochs(5, iteration=700)) == 1
    by_iteration = StepSchedule(values=[1, 2], milestones=[701])
    assert by_iteration(clock) == 1


def test_the_papers_linear_mu() -> None:
    # mu(epoch) = start + (end - start) * epoch / max_epoch
    ramp = LinearRamp(start=0.8, end=0.5, by_epoch=True)
    for epoch in range(13):
        assert ramp(epochs(epoch)) == pytest.approx(0.8 - 0.3 * epoch / 12)


@given(
    kind=st.sampled_from([LinearRamp, CosineRamp]),
    start=st.floats(0, 10),
    end=st.floats(0, 10),
    begin=st.integers(0, 50),
    length=st.integers(1, 50),
    iteration=st.integers(0, 120),
)
def test_ramps_stay_between_their_ends_and_never_turn(
    kind: type[LinearRamp] | type[CosineRamp],
    start: float,
    end: float,
    begin: int,
    length: int,
    iteration: int,
) -> None:
    ramp = kind(start=start, end=end, begin=begin, until=begin + length)
    now, later = (ramp(iterations(i, None)) for i in (iteration, iteration + 1))
    low, high = sorted([start, end])
    assert low - 1e-12 <= now <= high + 1e-12
    assert (later - now) * (end - start) >= -1e-12
    assert ramp(iterations(begin, None)) == start
    assert ramp(iterations(begin + length, None)) == end


def test_the_clock_alone_decides() -> None:
    ramp = LinearRamp(start=0, end=1)
    for iteration in (90, 3, 41):  # as after a resume: no memory of what was asked
        assert ramp(iterations(iteration)) == iteration / 100


# Built from configuration


@pytest.mark.parametrize(
    ('cfg', 'shown'),
    [
        (
            {'type': 'LinearRamp', 'start': 0, 'end': 1, 'until': 1000},
            'LinearRamp(0 -> 1, iterations 0 to 1000)',
        ),
        (
            {'type': 'kd_plugins.CosineRamp', 'start': 0, 'end': 1, 'by_epoch': True},
            'CosineRamp(0 -> 1, epochs 0 to end)',
        ),
        (
            {'type': StepSchedule, 'values': [1, 0.5], 'milestones': [10]},
            'StepSchedule(1 -> 0.5, at iterations 10)',
        ),
    ],
)
def test_builds_and_shows_for_the_plan(cfg: dict[str, Any], shown: str) -> None:
    before = dict(cfg)
    schedule = build_schedule(cfg)
    assert isinstance(schedule, Schedule)
    assert repr(schedule) == shown
    assert cfg == before


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({'start': 0}, r"^a schedule needs a type\. There are: 'CosineRamp', "),
        (
            {'type': 'LinearRam'},
            r"^type: there is no schedule 'LinearRam'\. Close: 'LinearRamp'",
        ),
        ({'type': dict}, r'^type: there is no schedule <class'),
        (
            {'type': 'LinearRamp', 'start': 0, 'end': 1, 'untill': 9},
            r"^untill: LinearRamp has no such key\. Close: 'until'",
        ),
        ({'type': 'LinearRamp', 'end': 1}, r'^LinearRamp needs start\.'),
        ({'type': 'StepSchedule'}, r'^StepSchedule needs values, milestones\.'),
        (
            {'type': 'LinearRamp', 'start': -1, 'end': 1},
            r'^start must be a finite number >= 0, got -1\.',
        ),
        (
            {'type': 'CosineRamp', 'start': 0, 'end': math.nan},
            r'^end must be a finite number >= 0, got nan\.',
        ),
        (
            {'type': 'LinearRamp', 'start': 0, 'end': 1, 'begin': -1},
            r'^begin must be a whole number >= 0, got -1\.',
        ),
        (
            {'type': 'LinearRamp', 'start': 0, 'end': 1, 'until': 1.5},
            r'^until must be a whole number >= 0, got 1\.5\.',
        ),
        (
            {'type': 'LinearRamp', 'start': 0, 'end': 1, 'begin': 9, 'until': 9},
            r'^until must be later than begin \(9\), got 9\.',
        ),
        (
            {'type': 'StepSchedule', 'values': [1, math.inf], 'milestones': [3]},
            r'^values\[1\] must be a finite number >= 0, got inf\.',
        ),
        (
            {'type': 'StepSchedule', 'values': [1, 2], 'milestones': [True]},
            r'^milestones\[0\] must be a whole number >= 0, got True\.',
        ),
        (
            {'type': 'StepSchedule', 'values': 1, 'milestones': [3]},
            r'^values must be a list of numbers, got 1\.',
        ),
        (
            {'type': 'StepSchedule', 'values': [1, 2], 'milestones': '3'},
            r"^milestones must be a list of numbers, got '3'\.",
        ),
        (
            {'type': 'LinearRamp', 'start': 0, 'end': 1, 'by_epoch': 'False'},
            r"^by_epoch must be True or False, got 'False'\.",
        ),
        ({'type': 3}, r'^type: there is no schedule 3\.'),
        (
            {'type': 'StepSchedule', 'values': [1, 2], 'milestones': [3, 4]},
            r'^values must be one more than the 2 milestones, got 2\.',
        ),
        (
            {'type': 'StepSchedule', 'values': [1, 2, 3], 'milestones': [4, 4]},
            r'^milestones must increase, got \[4, 4\]\.',
        ),
    ],
)
def test_what_cannot_be_built_is_refused_naming_the_key(
    cfg: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_schedule(cfg)


# Clocks that cannot serve


@pytest.mark.parametrize(
    'cfg',
    [
        {'type': 'LinearRamp', 'start': 0, 'end': 1, 'until': 3},
        {'type': 'StepSchedule', 'values': [0, 1], 'milestones': [3]},
    ],
)
def test_epoch_schedules_are_refused_in_iteration_loops(cfg: dict[str, Any]) -> None:
    schedule = build_schedule({**cfg, 'by_epoch': True})
    message = r'^the schedule counts epochs .* Set by_epoch=False'
    with pytest.raises(ConfigError, match=message):
        schedule(iterations(0))


def test_an_unknown_end_is_refused() -> None:
    ramp = build_schedule({'type': 'LinearRamp', 'start': 0, 'end': 1})
    message = r'^the length .* in iterations is .* Set until'
    with pytest.raises(ConfigError, match=message):
        ramp(iterations(0, most=None))


def test_a_ramp_after_the_end_of_training_is_refused() -> None:
    cfg = {'type': 'LinearRamp', 'start': 0, 'end': 1, 'begin': 100}
    message = r'^begin is 100, the training ends after 100 iterations'
    with pytest.raises(ConfigError, match=message):
        build_schedule(cfg)(iterations(0))
