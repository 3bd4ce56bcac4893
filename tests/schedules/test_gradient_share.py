"""The control of a weight: by hand, on numbers that a measurement could give."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd_plugins.errors import ConfigError
from kd_plugins.schedules import Clock, GradientShare, build_schedule


def clock(iteration: int, last: int | None = 1000) -> Clock:
    return Clock(iteration, 0, last, None, by_epoch=False)


def observed(*ratios: float | None, **options: Any) -> GradientShare:
    """A schedule that has seen these ratios."""
    schedule = GradientShare(**options)
    for ratio in ratios:
        schedule.observe(ratio)
    return schedule


# The weight


def test_the_first_measurement_gives_the_share_at_once() -> None:
    assert observed(8.0, share=0.25).value(0, None) == 2.0
    # No clamp: there is no weight yet that it would be far from.
    assert observed(1000.0, share=0.5).weight == 500.0


def test_two_measurements_count_as_their_geometric_mean() -> None:
    assert observed(2.0, 8.0, share=0.5).weight == pytest.approx(0.5 * 4.0)


def test_three_count_as_their_median_and_older_ones_no_more() -> None:
    assert observed(4.0, 9.0, 16.0, share=1.0).weight == pytest.approx(9.0)
    assert observed(4.0, 9.0, 16.0, 20.0, share=1.0).weight == pytest.approx(16.0)


@pytest.mark.parametrize('outlier', [1e-9, 1e9])
def test_one_noisy_batch_does_not_throw_it(outlier: float) -> None:
    schedule = observed(4.0, 4.0, outlier, share=1.0)
    assert schedule.weight == pytest.approx(4.0)
    for _ in range(3):
        schedule.observe(4.0)
        assert schedule.weight == pytest.approx(4.0)


@pytest.mark.parametrize(
    ('ratio', 'weight'),
    # A weight of 1 at a ratio r has the share 1 / r; the band is 0.8 to 1.2.
    [(1 / 1.19, 1.0), (1 / 1.21, 1 / 1.21), (1 / 0.81, 1.0), (1 / 0.79, 1 / 0.79)],
)
def test_within_the_band_nothing_changes(ratio: float, weight: float) -> None:
    schedule = observed(1.0, share=1.0, band=0.2)
    schedule._ratios = []
    schedule.observe(ratio)
    assert schedule.weight == pytest.approx(weight)


@pytest.mark.parametrize('ratio', [1e-4, 1e4])
def test_a_step_is_tenfold_at_most(ratio: float) -> None:
    schedule = observed(1.0, share=1.0)
    weights = []
    for _ in range(6):
        schedule.observe(ratio)
        weights.append(schedule.weight)
    # The geometric mean of two, then the median: 10, 100, 1000, 10000 in turn.
    sign = math.copysign(1, ratio - 1)
    powers = [round(sign * math.log10(weight), 6) for weight in weights if weight]
    assert powers == [1, 2, 3, 4, 4, 4]


def test_bounds_hold_from_the_first_measurement_on() -> None:
    options: dict[str, Any] = dict(share=1.0, min_weight=0.5, max_weight=3.0)
    low, high = observed(0.1, **options), observed(40.0, **options)
    assert (low.weight, low.at_bound) == (0.5, 'min_weight')
    assert (high.weight, high.at_bound) == (3.0, 'max_weight')
    assert observed(1.0, **options).at_bound == ''


@pytest.mark.parametrize('ratio', [None, 0.0, math.inf, math.nan])
def test_a_measurement_without_a_gradient_changes_nothing(ratio: float | None) -> None:
    schedule = observed(4.0, ratio, ratio, ratio, share=0.5)
    assert schedule.weight == 2.0
    nothing = observed(ratio, start=0.25)
    assert nothing.weight is None
    assert nothing.value(0, None) == 0.25


@given(
    ratios=st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=12),
    share=st.floats(1e-3, 10),
)
def test_every_step_is_bounded(ratios: list[float], share: float) -> None:
    schedule = GradientShare(share, min_weight=1e-3, max_weight=1e3)
    before = None
    for ratio in ratios:
        schedule.observe(ratio)
        assert schedule.weight is not None
        assert 1e-3 <= schedule.weight <= 1e3
        if before is not None:
            assert 0.1 - 1e-9 <= schedule.weight / before <= 10 + 1e-9
        before = schedule.weight


def test_it_converges_on_a_quadratic_with_known_gradients() -> None:
    # Task |x - a|^2 / 2 and pair |x - b|^2 / 2: gradients x - a and x - b.
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 40.0])
    x = torch.tensor([1.0, 1.0])
    schedule = GradientShare(share=0.5, interval=8, until=10_000)
    shares = []
    for iteration in range(800):
        if schedule.is_due(clock(iteration, 10_000)):
            noise = 2.0 ** float(torch.randn(()) * 0.3)
            schedule.observe(float((x - a).norm() / (x - b).norm()) * noise)
        weight = schedule(clock(iteration, 10_000))
        shares.append(float(weight * (x - b).norm() / (x - a).norm()))
        x = x - 0.01 * ((x - a) + weight * (x - b))
    # Where the two gradients are opposed it rests on the way from a to b.
    assert all(0.25 < share < 1.0 for share in shares)
    late = torch.tensor(shares[400:]).log().mean().exp()
    assert float(late) == pytest.approx(0.5, rel=0.1)


# The moments


def test_it_is_measured_when_it_begins_then_densely_then_at_the_interval() -> None:
    schedule = GradientShare(interval=200, begin=100)
    due = []
    for iteration in range(2000):
        if schedule.is_due(clock(iteration, 2000)):
            due.append(iteration)
            schedule.observe(1.0)
    assert due == [100, 125, 150, 200, 300, 500, 700, 900, 1100, 1300, 1500]


@pytest.mark.parametrize(
    ('last', 'expected'),
    [
        (400, [0, 100, 200]),
        (600, [0, 100, 200, 400]),
        (800, [0, 25, 50, 100, 200, 400]),
    ],
)
def test_a_short_training_is_measured_less_at_its_start(
    last: int, expected: list[int]
) -> None:
    schedule = GradientShare(interval=200)
    due = []
    for iteration in range(last):
        if schedule.is_due(clock(iteration, last)):
            due.append(iteration)
            schedule.observe(1.0)
    assert due[: len(expected)] == expected
    # A measurement takes 2.2 steps, at five pairs.
    assert len(due) * 2.2 <= 0.02 * last


def test_it_is_held_for_the_last_fifth_or_from_until_on() -> None:
    schedule = observed(1.0)
    assert schedule.is_due(clock(600)) and not schedule.is_due(clock(800))
    assert observed(1.0, until=900).is_due(clock(800))
    assert not observed(1.0, until=600).is_due(clock(600))
    # Without a known end, none is assumed.
    assert schedule.is_due(clock(800, None))


@pytest.mark.parametrize('last', [1, 2, 4])
def test_it_serves_a_trial_of_an_iteration(last: int) -> None:
    assert GradientShare().is_due(clock(0, last))


@pytest.mark.parametrize('iteration', [37, 950])
def test_what_was_never_measured_is_due_at_once(iteration: int) -> None:
    schedule = GradientShare()
    assert schedule.is_due(clock(iteration))
    schedule.observe(None)
    assert not schedule.is_due(clock(iteration + 1))


@pytest.mark.parametrize('interval', [1, 2, 7])
def test_short_intervals_need_no_denser_start(interval: int) -> None:
    schedule = observed(1.0, interval=interval)
    due = [each for each in range(100) if schedule.is_due(clock(each))]
    early = {interval // 8, interval // 4, interval // 2}
    assert due == sorted(early | set(range(0, 100, interval)))


def test_before_it_begins_the_weight_is_that_of_the_start() -> None:
    schedule = observed(1.0, share=0.5, begin=10)
    assert schedule(clock(9)) == 0.0
    assert schedule(clock(10)) == 0.5
    assert observed(1.0, begin=10, start=3.0)(clock(9)) == 3.0
    assert GradientShare(begin=10)(clock(9)) == 0.0


def test_a_weight_that_nothing_measures_is_an_error() -> None:
    message = "^is a GradientShare, and nothing measures it. Set runner_type='kd_plug"
    with pytest.raises(ConfigError, match=message):
        GradientShare()(clock(0))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'begin': 1000}, r'^begin is 1000, and the training ends after 1000 iter'),
        ({'begin': 1000, 'until': 2000}, r'^begin is 1000, and the training ends'),
        ({'begin': 850}, r'held from 800 on, the last 20% of 1000 iterations. Set an'),
    ],
)
def test_a_beginning_after_the_end_is_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        GradientShare(**options).is_due(clock(0))


# Its state


def test_a_state_goes_on_where_another_was() -> None:
    one = observed(4.0, 1.0, 30.0, share=0.5)
    other = GradientShare(share=0.5)
    other.load_state_dict(one.state_dict())
    for schedule in (one, other):
        schedule.observe(7.0)
    assert other.state_dict() == one.state_dict()
    assert other.weight == one.weight != observed(30.0, 7.0, share=0.5).weight


def test_it_shows_what_it_keeps_and_its_weight() -> None:
    schedule = build_schedule({'type': 'GradientShare', 'share': 0.3, 'band': 0.05})
    assert repr(schedule) == (
        'GradientShare(0.3 ± 5%, every 200 iterations from 0 to 80%)'
    )
    schedule = observed(1.0, until=900)
    assert repr(schedule).endswith('from 0 to 900, now 0.5)')


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        ({'share': 0}, r'^share must be a finite number > 0, got 0\.'),
        ({'share': 'half'}, r"^share must be a finite number > 0, got 'half'\."),
        ({'band': -0.1}, r'^band must be a finite number >= 0, got -0\.1\.'),
        ({'band': 1}, r'^band must be below 1, got 1\.'),
        ({'interval': 0}, r'^interval must be a whole number >= 1, got 0\.'),
        ({'interval': None}, r'^interval must be a whole number >= 1, got None\.'),
        ({'begin': -1}, r'^begin must be a whole number >= 0, got -1\.'),
        ({'until': 0.8}, r'^until must be a whole number >= 0, got 0\.8\.'),
        ({'begin': 5, 'until': 5}, r'^until must be later than begin \(5\), got 5\.'),
        ({'start': -1}, r'^start must be a finite number >= 0, got -1\.'),
        ({'min_weight': 0}, r'^min_weight must be a finite number > 0, got 0\.'),
        (
            {'max_weight': 0},
            r'^max_weight must be larger than min_weight \(1e-06\), got 0\.',
        ),
        ({'by_epoch': True}, r'^by_epoch: GradientShare has no such key\.'),
        ({'shares': 1}, r"^shares: GradientShare has no such key\. Close: 'share'"),
    ],
)
def test_what_cannot_be_is_refused_naming_the_key(
    cfg: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_schedule({'type': 'GradientShare', **cfg})
