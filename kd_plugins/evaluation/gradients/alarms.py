"""Warnings about pairs while they are trained."""

import statistics
from collections.abc import Sequence

from .measurements import PairShare, ShareMeasurement
from .shares import DEAD, FAINT, NOT_FINITE, OFF

# A pair whose gradient is larger than so many of the task's decides what is learned.
OVERWHELMING = 5.0
IN_A_ROW = 3
ZERO_ITERATIONS = 100
_SHARE = 0.5  # for which weights are suggested
FAIR = 'fair'
_FAINT, _DOMINATING, _ZERO = 'faint', 'dominating', 'zero'
_PART_OF_RUN = 0.01
_MOST_MOMENTS = 20


def condition(pair: PairShare) -> str:
    """What one measurement says of a pair.

    Returns: 'off' (weight 0), 'dead' (gradient 0), 'not finite', or as
        :func:`condition_of` its share.
    """
    if pair.verdict in (DEAD, NOT_FINITE, OFF):
        return pair.verdict
    return condition_of(pair.share, pair.wanted)


def condition_of(share: float | None, wanted: float | None = None) -> str:
    """'faint' (below 0.01), 'dominating' (above 5) or 'fair', by a share.

    Args:
        share: None where the task has no gradient: that is no fault of the pair.
        wanted: share that a ``GradientShare`` keeps; a tenth to tenfold of it is fair.
    """
    low, high = FAINT, OVERWHELMING
    if wanted is not None:
        low, high = min(low, wanted / 10), max(high, 10 * wanted)
    if share is None or low <= share <= high:
        return FAIR
    return _FAINT if share < low else _DOMINATING


def alarm_moments(max_iterations: int, pairs: int) -> frozenset[int]:
    """Iterations at which a run without balanced weights is measured.

    So many that they take about 1 % of the run, at most 20; none in a run of less than
    a few hundred iterations. They are denser at the beginning: an alarm is worth most
    there.

    Args:
        max_iterations: of the run.
        pairs: number of pairs. In iterations, a measurement costs a forward pass of
            both models and a backward pass for each pair and the task: measured, 2.2 at
            five pairs.

    Example:
        >>> sorted(alarm_moments(1000, 5)), sorted(alarm_moments(200, 5))
        ([62, 250, 562], [])
    """
    cost = 1 + 0.45 * pairs
    number = min(int(_PART_OF_RUN * max_iterations / cost), _MOST_MOMENTS)
    return frozenset(
        int(max_iterations * (each / (number + 1)) ** 2)
        for each in range(1, number + 1)
    )


class PairAlarms:
    """Warnings, one for each pair and kind.

    - A share outside 0.01 to 5, a gradient of 0 or one that is not finite, in three
      measurements in a row. Measurements at weight 0 do not count.
    - A loss of exactly 0 in 100 iterations in a row, at a weight that is not 0.
    """

    def __init__(self) -> None:
        self._recent: dict[str, list[PairShare]] = {}
        self._zeros: dict[str, int] = {}
        self._alive: set[str] = set()
        self._given: set[tuple[str, str]] = set()

    @property
    def always_zero(self) -> set[str]:
        """Names of pairs whose loss has been 0 in all iterations, at least in 100."""
        return {
            name
            for name, zeros in self._zeros.items()
            if name not in self._alive and zeros >= ZERO_ITERATIONS
        }

    def observe_shares(self, measurement: ShareMeasurement) -> list[str]:
        """Warnings that follow from a measurement."""
        warnings = []
        for name, pair in measurement.pairs.items():
            kind = condition(pair)
            if kind == OFF:
                continue
            recent = [*self._recent.get(name, ()), pair][-IN_A_ROW:]
            self._recent[name] = recent
            steady = len(recent) == IN_A_ROW and {*map(condition, recent)} == {kind}
            if kind != FAIR and steady and self._is_first(name, kind):
                shares = ', '.join(f'{each.share or 0:.3g}' for each in recent)
                happened = {
                    DEAD: 'its gradient was 0',
                    NOT_FINITE: 'its gradient was not finite',
                }.get(kind, f"its gradient was {shares} times the task's")
                warnings.append(
                    f'{pair.key}: {happened}, in {IN_A_ROW} measurements in a row. '
                    f'{advice(kind, recent)}'
                )
        return warnings

    def observe_loss(
        self, name: str, key: str, weight: float, value: float
    ) -> str | None:
        """A warning that follows from a pair's loss in one iteration, if there is one.

        Args:
            name: of the pair.
            key: its configuration key.
            weight: its weight in this iteration.
            value: its loss, weighted.
        """
        if weight == 0:
            return None
        if value != 0:
            self._alive.add(name)
            self._zeros[name] = 0
            return None
        self._zeros[name] = self._zeros.get(name, 0) + 1
        if self._zeros[name] < ZERO_ITERATIONS or not self._is_first(name, _ZERO):
            return None
        return (
            f'{key}: its loss was exactly 0 in {ZERO_ITERATIONS} iterations in a row, '
            f'at weight {weight:g}. A bounded loss is 0 where the student is as good '
            f'as its teacher: then set {key}=None. Otherwise its mask, or its view, '
            f'leaves nothing to compare: change {key}.'
        )

    def _is_first(self, name: str, kind: str) -> bool:
        first = (name, kind) not in self._given
        self._given.add((name, kind))
        return first


def advice(kind: str, measured: Sequence[PairShare]) -> str:
    """What to change in the configuration, naming the key.

    Args:
        kind: as of :func:`condition`.
        measured: the pair at one or several measurements.
    """
    last, key = measured[-1], measured[-1].key
    weights = [
        each.weight * _SHARE / each.share
        for each in measured
        if each.share and each.weight
    ]
    if kind == DEAD or not (weights or kind == NOT_FINITE):
        return (
            f'It teaches nothing: change its layer, view or loss, or set {key}=None. '
            'tools/analyze.py says more.'
        )
    if kind == NOT_FINITE:
        return f'Lower {key}.loss.loss_weight, or train without mixed precision.'
    if last.wanted is not None:
        return (
            f'Its GradientShare wants {last.wanted:g}, and {last.weight:.3g} is the '
            f'nearest weight within its bounds: change min_weight and max_weight of '
            f'{key}.loss.loss_weight, or set {key}=None.'
        )
    return (
        f'{key}.loss.loss_weight={statistics.median(weights):.3g} instead of '
        f'{last.weight:.3g} would give share {_SHARE:g}; '
        f"dict(type='GradientShare', share={_SHARE:g}) keeps it there."
    )
