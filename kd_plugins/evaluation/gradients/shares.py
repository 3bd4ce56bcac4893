"""Gradient shares of a pair: its share, a suggested weight, a verdict."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

# Parts of the student: the backbone; neck and heads; both.
BACKBONE, HEADS, WHOLE = PARTS = ('backbone', 'heads', 'whole')

# Shares of the task's gradient: below the first a pair has little effect, above the
# second the task has.
FAINT, STRONG = 0.01, 1.0
DEAD, NOT_FINITE, OFF = 'dead', 'not finite', 'off'


@dataclass(frozen=True)
class PairGradient:
    """Gradient of one pair at the student, at weight 1.

    Attributes:
        key: its configuration key.
        weight: its current ``loss_weight``.
        value: of its loss at weight 1.
        norms: L2 norm of its gradient at weight 1, by part of the student.
        cosines: of its gradient and the task's, by part; NaN if one of them is 0.
        reaches: whether its graph reaches a trained parameter of the student.
        alive: whether its gradient is not 0 in at least one batch.
    """

    key: str
    weight: float
    value: float
    norms: Mapping[str, float]
    cosines: Mapping[str, float]
    reaches: bool
    alive: bool


@dataclass(frozen=True)
class GradientShares:
    """Gradients of the task and of all pairs, and their shares.

    Norms are over trained parameters of the student: those of the **backbone**, which
    all terms share; or, for a pair whose gradient does not reach the backbone, those of
    the **heads**, which are neck and heads. A share is a pair's norm at its current
    weight divided by the task's norm at the same parameters.

    Attributes:
        task_value: sum of the task's losses, weighted as configured.
        task_norms: L2 norm of its gradient, by part of the student.
        pairs: by name.
        batches: number of batches, whose medians these are.
    """

    task_value: float
    task_norms: Mapping[str, float]
    pairs: Mapping[str, PairGradient]
    batches: int = 1

    def part_of(self, name: str) -> str:
        """The part where a pair is compared with the task: 'backbone' or 'heads'."""
        # Not `> 0`: a NaN is a gradient that reaches the backbone.
        return BACKBONE if self.pairs[name].norms[BACKBONE] != 0 else HEADS

    def gradient(self, name: str, part: str | None = None) -> float:
        """Norm of a pair's gradient at its current weight."""
        pair = self.pairs[name]
        return pair.weight * pair.norms[part or self.part_of(name)]

    def share(self, name: str, part: str | None = None) -> float:
        """That norm divided by the task's; infinite if the task's is 0."""
        part = part or self.part_of(name)
        return _ratio(self.gradient(name, part), self.task_norms[part])

    def cosine(self, name: str) -> float:
        """Cosine of a pair's gradient and the task's; below 0 they are opposed."""
        return self.pairs[name].cosines[self.part_of(name)]

    def suggested_weight(self, name: str, share: float) -> float | None:
        """The weight at which a pair has this share on these batches.

        Returns: None if a gradient is 0 or not finite.
        """
        part = self.part_of(name)
        weight = _ratio(share * self.task_norms[part], self.pairs[name].norms[part])
        return weight if 0 < weight < math.inf else None

    def verdict(self, name: str) -> str:
        """A verdict on a pair.

        - 'not finite': its gradient holds NaN or infinity.
        - 'dead': its gradient is 0 at every trained parameter, in all batches.
        - 'off': its current weight is 0.
        - 'faint': its share is below 1 %.
        - 'dominating': its gradient is larger than the task's, and than the sum of
          those of the task and all other pairs.
        - 'strong': its gradient is larger than the task's.
        - 'fair': anything else.
        """
        pair, part = self.pairs[name], self.part_of(name)
        if not math.isfinite(pair.norms[WHOLE]):
            return NOT_FINITE
        if not pair.alive:
            return DEAD
        if pair.weight == 0:
            return OFF
        share = self.share(name)
        if share < FAINT:
            return 'faint'
        if share > STRONG:
            others = self.task_norms[part] + sum(
                self.gradient(other, part) for other in self.pairs if other != name
            )
            return 'dominating' if self.gradient(name) > others else 'strong'
        return 'fair'

    @property
    def failing(self) -> list[str]:
        """Names of the pairs that have no usable gradient: dead, or not finite."""
        return [name for name in self.pairs if self.verdict(name) in (DEAD, NOT_FINITE)]


def median_shares(shares: Sequence[GradientShares]) -> GradientShares:
    """Median of each number over batches; shares are then ratios of medians.

    Args:
        shares: of one batch each, at the same weights.
    """
    first = shares[0]
    pairs = {}
    for name, pair in first.pairs.items():
        each = [item.pairs[name] for item in shares]
        pairs[name] = replace(
            pair,
            value=_median([item.value for item in each]),
            norms=_by_part([item.norms for item in each]),
            # A batch without a cosine does not count.
            cosines=_by_part([item.cosines for item in each], skip_nan=True),
            reaches=any(item.reaches for item in each),
            alive=any(item.alive for item in each),
        )
    return GradientShares(
        _median([item.task_value for item in shares]),
        _by_part([item.task_norms for item in shares]),
        pairs,
        len(shares),
    )


def _by_part(
    values: Sequence[Mapping[str, float]], skip_nan: bool = False
) -> dict[str, float]:
    return {part: _median([item[part] for item in values], skip_nan) for part in PARTS}


def _median(values: Sequence[float], skip_nan: bool = False) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    if not numbers or (len(numbers) < len(values) and not skip_nan):
        return math.nan
    return statistics.median(numbers)


def _ratio(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return math.inf if numerator else math.nan
    return numerator / denominator
