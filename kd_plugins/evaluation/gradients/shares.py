"""What gradients say of a pair: its share, the weight it should have, a verdict."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

# Parts of the student: its backbone; all else, neck and heads; both together.
BACKBONE, HEADS, WHOLE = PARTS = ('backbone', 'heads', 'whole')

# Of the task's gradient: below the first a pair is hardly felt, above the second it is
# the task that is.
FAINT, STRONG = 0.01, 1.0
DEAD, NOT_FINITE, OFF = 'dead', 'not finite', 'off'


@dataclass(frozen=True)
class PairGradient:
    """Gradient of one pair at the student, of which the weight is only a factor.

    Attributes:
        key: its configuration key.
        weight: its present ``loss_weight``.
        value: of its loss at weight 1.
        norms: L2 norm of its gradient at weight 1, by part of the student.
        cosines: of its gradient and the task's, by part; NaN where one of them is 0.
        reaches: whether a graph leads from it to a trained parameter of the student.
        alive: whether its gradient was other than 0, in one batch at least.
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
    """Gradients of the task and of all pairs, and how they compare.

    Norms are taken over trained parameters of the student. Those of the **backbone**
    count, which all terms share; for a pair whose gradient does not reach it, those of
    the **heads**: all others, neck and heads. A share is a pair's norm at its present
    weight over that of the task at the same parameters.

    Attributes:
        task_value: of the task's losses together, weighted as configured.
        task_norms: L2 norm of their gradient, by part of the student.
        pairs: by name.
        batches: how many these are the medians of.
    """

    task_value: float
    task_norms: Mapping[str, float]
    pairs: Mapping[str, PairGradient]
    batches: int = 1

    def part_of(self, name: str) -> str:
        """Where a pair is compared with the task: 'backbone' or 'heads'."""
        # Not `> 0`: a NaN is a gradient that reaches the backbone.
        return BACKBONE if self.pairs[name].norms[BACKBONE] != 0 else HEADS

    def gradient(self, name: str, part: str | None = None) -> float:
        """Norm of a pair's gradient at its present weight."""
        pair = self.pairs[name]
        return pair.weight * pair.norms[part or self.part_of(name)]

    def share(self, name: str, part: str | None = None) -> float:
        """That norm over the task's; infinite where the task has no gradient."""
        part = part or self.part_of(name)
        return _ratio(self.gradient(name, part), self.task_norms[part])

    def cosine(self, name: str) -> float:
        """Of a pair's gradient and the task's; below 0 it pulls against the task."""
        return self.pairs[name].cosines[self.part_of(name)]

    def suggested_weight(self, name: str, share: float) -> float | None:
        """The weight at which a pair, on these batches, has this share.

        Returns: None where no weight has it: one of the gradients is 0 or not finite.
        """
        part = self.part_of(name)
        weight = _ratio(share * self.task_norms[part], self.pairs[name].norms[part])
        return weight if 0 < weight < math.inf else None

    def verdict(self, name: str) -> str:
        """What to think of a pair, in a word.

        - 'not finite': its gradient holds NaN or infinity.
        - 'dead': its gradient is 0 at every trained parameter, in all batches.
        - 'off': its weight is 0 at present.
        - 'faint': its share is below 1 %.
        - 'dominating': its gradient is larger than the task's, and than those of the
          task and all other pairs together: the step goes where it points.
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
        """Names of the pairs that cannot teach as they are: dead, or not finite."""
        return [name for name in self.pairs if self.verdict(name) in (DEAD, NOT_FINITE)]


def median_shares(found: Sequence[GradientShares]) -> GradientShares:
    """Medians over batches, number by number; shares are then ratios of medians.

    Args:
        found: of one batch each, at the same weights.
    """
    first = found[0]
    pairs = {}
    for name, pair in first.pairs.items():
        each = [item.pairs[name] for item in found]
        pairs[name] = replace(
            pair,
            value=_median([item.value for item in each]),
            norms=_by_part([item.norms for item in each]),
            # A batch in which there was none says nothing.
            cosines=_by_part([item.cosines for item in each], skip_nan=True),
            reaches=any(item.reaches for item in each),
            alive=any(item.alive for item in each),
        )
    return GradientShares(
        _median([item.task_value for item in found]),
        _by_part([item.task_norms for item in found]),
        pairs,
        len(found),
    )


def _by_part(
    found: Sequence[Mapping[str, float]], skip_nan: bool = False
) -> dict[str, float]:
    return {part: _median([item[part] for item in found], skip_nan) for part in PARTS}


def _median(values: Sequence[float], skip_nan: bool = False) -> float:
    known = [value for value in values if not math.isnan(value)]
    if not known or (len(known) < len(values) and not skip_nan):
        return math.nan
    return statistics.median(known)


def _ratio(one: float, other: float) -> float:
    if other == 0:
        return math.inf if one else math.nan
    return one / other
