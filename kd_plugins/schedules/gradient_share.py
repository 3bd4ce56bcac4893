"""A weight that keeps a pair's gradient at a share of the task's."""

import math
import statistics
from typing import Any

from kd_plugins.checks import check_float, check_int
from kd_plugins.errors import ConfigError
from kd_plugins.registry import SCHEDULES
from kd_plugins.schedules._base import Clock, Schedule, check_step

# Largest change of a weight at one measurement.
MOST_AT_ONCE = 10.0
# Part of a training, its last one, in which weights are held.
HELD_PART = 0.2
# One batch out of line is no median of three.
_MEMORY = 3
# A training of fewer intervals is measured less at its start, for its cost's sake.
_SHORT = 4


@SCHEDULES.register_module()
class GradientShare(Schedule):
    """The weight at which a pair's gradient is a share of the task's.

    Both gradients are measured on a batch, as ``tools/analyze.py`` does, right before
    the iterations ``begin``, ``begin`` plus an eighth, a quarter and a half of
    ``interval`` (where the ratio changes fastest; in a training of less than four
    intervals only the half), and then at every ``interval``. The ratio of the two at
    weight 1 counts as the median of its last three measurements (of two: their
    geometric mean). Where the share that follows from it lies outside
    ``share * (1 - band)`` to ``share * (1 + band)``, the weight is multiplied by the
    wanted over the measured share, by 1/10 to 10 at once, and kept within
    ``min_weight`` and ``max_weight``. From ``until`` on it is held: the last part of a
    training, where its learning rate falls, minimises one fixed sum of losses.

    Its state is saved with the training, and it is measured by ``GradientSharesHook``,
    which ``DistillRunner`` registers.

    Args:
        share: wanted ratio of the two gradients' L2 norms, > 0.
        band: relative deviation of the share that changes nothing, >= 0, < 1.
        interval: iterations between two measurements, >= 1.
        begin: first iteration with a measured weight.
        until: iteration from which the weight is held; default: 80 % of the training.
        start: weight before ``begin``, >= 0.
        min_weight: smallest weight, > 0.
        max_weight: largest weight, > ``min_weight``. It bounds the weight of a pair
            whose gradient vanishes because it has learned all it can.

    Raises: ConfigError for invalid values.

    Example:
        >>> schedule = GradientShare(share=0.5)
        >>> schedule.observe(4.0)  # the task's gradient is 4 times the pair's
        >>> schedule.value(0, last=None)
        2.0
    """

    def __init__(
        self,
        share: float = 0.5,
        band: float = 0.1,
        interval: int = 200,
        begin: int = 0,
        until: int | None = None,
        start: float = 0.0,
        min_weight: float = 1e-6,
        max_weight: float = 1e6,
    ) -> None:
        super().__init__()
        self.share = check_float('share', share, strict=True)
        self.band = check_float('band', band)
        if self.band >= 1:
            raise ConfigError(f'band must be below 1, got {band!r}.')
        self.interval = check_int('interval', interval)
        self.begin = check_step('begin', begin)
        self.until = None if until is None else check_step('until', until)
        if self.until is not None and self.until <= self.begin:
            raise ConfigError(
                f'until must be later than begin ({self.begin}), got {self.until}.'
            )
        self.start = check_float('start', start)
        self.min_weight = check_float('min_weight', min_weight, strict=True)
        self.max_weight = check_float('max_weight', max_weight)
        if self.max_weight <= self.min_weight:
            raise ConfigError(
                f'max_weight must be larger than min_weight ({min_weight:g}), got '
                f'{max_weight:g}.'
            )
        self.weight: float | None = None
        self.measurements = 0
        self._ratios: list[float] = []

    def held_from(self, last: int | None) -> float:
        """The iteration from which the weight is held.

        Args:
            last: iterations of the whole training; None: unknown.

        Raises: ConfigError for a training that ends, or holds the weight, before
            ``begin``.
        """
        if last is None:
            return math.inf if self.until is None else self.until
        until = last - int(HELD_PART * last) if self.until is None else self.until
        if self.begin >= last:
            raise ConfigError(
                f'begin is {self.begin}, and the training ends after {last} '
                'iterations. Set an earlier begin.'
            )
        if self.begin >= until:
            raise ConfigError(
                f'begin is {self.begin}, and the weight is held from {until} on, the '
                f'last {HELD_PART:.0%} of {last} iterations. Set an earlier begin, or '
                'until.'
            )
        return until

    def is_due(self, clock: Clock) -> bool:
        """Whether it is to be measured right before this iteration.

        Raises: ConfigError as :meth:`held_from` does.
        """
        until = self.held_from(clock.max_iterations)
        elapsed = clock.iteration - self.begin
        if elapsed < 0:
            return False
        if not self.measurements:  # also where a plain run is continued
            return True
        last = clock.max_iterations
        short = last is not None and last < _SHORT * self.interval
        parts = (2,) if short else (2, 4, 8)
        early = elapsed in [self.interval // part for part in parts]
        at_moment = early or elapsed % self.interval == 0
        return at_moment and clock.iteration < until

    def lacks_weight(self, clock: Clock | None) -> bool:
        """Whether it has begun, and nothing has measured it."""
        begun = clock is not None and clock.iteration >= self.begin
        return begun and not self.measurements

    def observe(self, ratio: float | None) -> None:
        """Let the weight follow a measurement.

        Args:
            ratio: norm of the task's gradient over the pair's at weight 1; None if one
                of them is 0 or not finite, which changes nothing.
        """
        self.measurements += 1
        if ratio is None or not 0 < ratio < math.inf:
            return
        self._ratios = [*self._ratios, ratio][-_MEMORY:]
        middle = _geometric_median(self._ratios)
        if self.weight is None:
            self.weight = self._bounded(self.share * middle)
            return
        measured = self.weight / middle
        if abs(measured - self.share) <= self.band * self.share:
            return
        factor = min(max(self.share / measured, 1 / MOST_AT_ONCE), MOST_AT_ONCE)
        self.weight = self._bounded(self.weight * factor)

    def _bounded(self, weight: float) -> float:
        return min(max(weight, self.min_weight), self.max_weight)

    @property
    def at_bound(self) -> str:
        """Name of the bound that the weight has reached, or an empty string."""
        for name in ('min_weight', 'max_weight'):
            if self.weight == getattr(self, name):
                return name
        return ''

    def value(self, step: int, last: int | None) -> float:
        """The weight at an iteration; without a usable measurement that of the start.

        Raises: ConfigError if nothing has measured it by then.
        """
        if step < self.begin:
            return self.start
        if not self.measurements:
            raise ConfigError(
                'is a GradientShare, and nothing measures it. Set '
                "runner_type='kd_plugins.DistillRunner', as configs/_base_/distill.py "
                "does; or add dict(type='kd_plugins.GradientSharesHook') to "
                'custom_hooks.'
            )
        return self.start if self.weight is None else self.weight

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to go on as the uninterrupted one."""
        return {
            'weight': self.weight,
            'measurements': self.measurements,
            'ratios': list(self._ratios),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`."""
        self.weight = state['weight']
        self.measurements = state['measurements']
        self._ratios = list(state['ratios'])

    def __repr__(self) -> str:
        until = '80%' if self.until is None else self.until
        now = '' if self.weight is None else f', now {self.weight:.3g}'
        return (
            f'GradientShare({self.share:g} ± {self.band:.0%}, every {self.interval} '
            f'iterations from {self.begin} to {until}{now})'
        )


def _geometric_median(numbers: list[float]) -> float:
    """The middle one; of an even number, the geometric mean of the middle two."""
    low, high = statistics.median_low(numbers), statistics.median_high(numbers)
    return low if low == high else math.sqrt(low) * math.sqrt(high)
