from operator import truediv

import pytest
from scipy import stats

from kd_plugins.benchmark.statistics import (
    Summary,
    gap_closed,
    paired_gain,
    paired_median,
    summarise,
)

SCORES = {0: 31.0, 1: 28.5, 2: 33.25, 3: 30.0}
BASELINE = {0: 25.5, 1: 26.0, 2: 24.0, 3: 27.5}


def test_mean_and_sample_deviation_by_hand():
    # squared distances from 4: 4 + 0 + 4; over n - 1 = 2 gives 4
    assert summarise([2.0, 4.0, 6.0]) == Summary(4.0, 2.0, 3)


def test_a_single_seed_has_no_spread_and_no_interval():
    assert summarise([2.0]) == Summary(2.0, None, 1)
    gain = paired_gain({0: 3.0}, {0: 1.0})
    assert (gain.mean, gain.interval) == (2.0, None)


def test_interval_is_that_of_scipys_paired_t_test():
    gain = paired_gain(SCORES, BASELINE)
    test = stats.ttest_rel(list(SCORES.values()), list(BASELINE.values()))
    interval = test.confidence_interval(0.95)
    assert gain.interval == pytest.approx((interval.low, interval.high))
    assert gain.mean == pytest.approx(5.5 - 0.5625)
    assert gain.seen == '4 of 4 seeds'


def test_interval_of_three_seeds_by_hand():
    # differences 1, 2, 3: mean 2, deviation 1; t(0.975, 2) = 4.302653
    gain = paired_gain({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0})
    half = 4.302653 / 3**0.5
    assert gain.interval == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_only_common_seeds_count():
    gain = paired_gain({0: 3.0, 2: 5.0}, {0: 1.0, 1: 100.0})
    assert gain.differences == {0: 2.0}
    assert paired_gain({0: 3.0}, {1: 1.0}) is None


def test_one_loss_is_not_a_gain_in_every_seed():
    assert paired_gain({0: 3.0, 1: 1.0}, {0: 1.0, 1: 1.5}).seen == '1 of 2 seeds'


def test_of_errors_the_gain_is_by_how_much_they_fall():
    higher = paired_gain(SCORES, BASELINE)
    lower = paired_gain(
        {seed: -score for seed, score in SCORES.items()},
        {seed: -score for seed, score in BASELINE.items()},
        lower_is_better=True,
    )
    assert lower == higher


def test_gap_closed_needs_a_gap():
    assert gap_closed(gain=6.0, lead=10.0) == pytest.approx(0.6)
    assert gap_closed(gain=6.0, lead=0.0) is None
    assert gap_closed(gain=6.0, lead=-1.0) is None


def test_ratio_without_a_common_seed():
    assert paired_median(truediv, {0: 1.0}, {1: 1.0}) is None
