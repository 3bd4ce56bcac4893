"""Figures over seeds: mean, spread, paired gain with its interval."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..extras import extra

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Mean and spread of one recipe's scores.

    Attributes:
        mean: over the seeds.
        std: sample standard deviation (n - 1); None for a single seed.
        number: of seeds.
    """

    mean: float
    std: float | None
    number: int


@dataclass(frozen=True)
class Gain:
    """Improvement of one recipe over another, seed by seed.

    Attributes:
        mean: of the differences, above 0 if the recipe is better.
        interval: 95 % confidence interval, Student's t; None for a single seed.
        differences: by seed.
    """

    mean: float
    interval: tuple[float, float] | None
    differences: Mapping[int, float]

    @property
    def seen(self) -> str:
        """In how many seeds the difference is above 0, such as '2 of 3 seeds'."""
        above = sum(difference > 0 for difference in self.differences.values())
        return f'{above} of {len(self.differences)} seeds'

    @property
    def kind(self) -> str:
        """'up' or 'down' if the interval does not contain 0, else 'unsure'."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return 'unsure'
        return 'up' if self.mean > 0 else 'down'


def summarise(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation.

    Args:
        values: at least one.

    Example:
        >>> summarise([1.0, 3.0])
        Summary(mean=2.0, std=1.4142135623730951, number=2)
    """
    std = statistics.stdev(values) if len(values) > 1 else None
    return Summary(statistics.fmean(values), std, len(values))


def paired_gain(
    scores: Mapping[int, float],
    reference: Mapping[int, float],
    *,
    lower_is_better: bool = False,
) -> Gain | None:
    """Gain over a reference with the same initial weights and the same data.

    Differences are taken seed by seed, which cancels a seed's effect on both. Only
    common seeds count.

    Args:
        scores: by seed.
        reference: by seed.
        lower_is_better: a gain is a decrease.

    Returns: None without a common seed.

    Example:
        >>> paired_gain({0: 3.0, 1: 5.0, 2: 9.0}, {0: 2.0, 1: 3.0}).mean
        1.5
        >>> paired_gain({0: 0.25}, {0: 0.75}, lower_is_better=True).mean
        0.5
    """
    seeds = sorted(set(scores) & set(reference))
    if not seeds:
        return None
    if lower_is_better:
        scores, reference = reference, scores
    differences = {seed: scores[seed] - reference[seed] for seed in seeds}
    summary = summarise(list(differences.values()))
    interval = None
    if summary.std is not None:
        with extra('report', 'an interval'):
            from scipy import stats
        quantile = stats.t.ppf((1 + _CONFIDENCE) / 2, df=summary.number - 1)
        half = float(quantile) * summary.std / math.sqrt(summary.number)
        interval = (summary.mean - half, summary.mean + half)
    return Gain(summary.mean, interval, differences)


def gap_closed(gain: float, lead: float) -> float | None:
    """Gain as a share of the teacher's lead over the baseline; None for a lead <= 0.

    Args:
        gain: over the baseline.
        lead: of the teacher over the baseline, as a gain.

    Example:
        >>> gap_closed(gain=3.0, lead=6.0)
        0.5
    """
    return gain / lead if lead > 0 else None


def paired_median(
    operation: Callable[[float, float], float],
    values: Mapping[int, float],
    reference: Mapping[int, float],
) -> float | None:
    """Median over the common seeds of an operation; None without a common seed.

    Args:
        operation: of a value and its reference, as in the module ``operator``.
        values: by seed.
        reference: by seed.

    Example:
        >>> from operator import sub, truediv
        >>> paired_median(sub, {0: 3.0, 1: 2.0, 2: 8.0}, {0: 2.0, 1: 2.0})
        0.5
        >>> paired_median(truediv, {0: 3.0, 1: 2.0, 2: 8.0}, {0: 2.0, 1: 2.0, 2: 2.0})
        1.5
    """
    seeds = set(values) & set(reference)
    if not seeds:
        return None
    return statistics.median(operation(values[seed], reference[seed]) for seed in seeds)
