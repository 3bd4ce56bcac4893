"""A verdict on each pair of a run, by its gradient shares."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...tables import table_lines
from .alarms import FAIR, advice, condition, condition_of
from .measurements import ShareMeasurement
from .shares import DEAD, NOT_FINITE, OFF


@dataclass(frozen=True)
class PairVerdict:
    """One pair over a whole run.

    Attributes:
        key: its configuration key.
        verdict: 'fair', 'faint', 'dominating', 'dead', 'off' or 'not finite'.
        share: median over the measurements at which it had a weight; None: there is no
            number.
        weight: its loss weight at the end.
        advice: what to change, naming the key; empty for 'fair' and 'off'.
    """

    key: str
    verdict: str
    share: float | None
    weight: float
    advice: str


@dataclass(frozen=True)
class RunVerdict:
    """What the gradient shares of a run come to; printed, a table and a sentence.

    Attributes:
        pairs: by name.
        measurements: number of measurements.
    """

    pairs: Mapping[str, PairVerdict]
    measurements: int

    @property
    def sentence(self) -> str:
        """One sentence on the whole."""
        others: dict[str, list[str]] = {}
        for name, pair in self.pairs.items():
            if pair.verdict != FAIR:
                others.setdefault(pair.verdict, []).append(name)
        number = len(self.pairs)
        if not others:
            return (
                "The pair had a fair share of the student's gradient."
                if number == 1
                else f"All {number} pairs had a fair share of the student's gradient."
            )
        listed = '; '.join(
            f'{kind}: {", ".join(names)}' for kind, names in others.items()
        )
        fair = number - sum(map(len, others.values()))
        return f'{fair} of {number} pairs had a fair share; {listed}.'

    def __str__(self) -> str:
        rows = [
            (
                name,
                '-' if pair.share is None else f'{pair.share:.3g}',
                f'{pair.weight:.3g}',
                pair.verdict,
            )
            for name, pair in self.pairs.items()
        ]
        lines = table_lines(('pair', 'share', 'weight', 'verdict'), rows, 'plain')
        lines += [pair.advice for pair in self.pairs.values() if pair.advice]
        return '\n'.join([*lines, self.sentence])


def run_verdict(
    measurements: Sequence[ShareMeasurement],
    *,
    weights: Mapping[str, float] | None = None,
    always_zero: Collection[str] = (),
) -> RunVerdict | None:
    """A verdict on each pair of a run.

    Args:
        measurements: of the run, as ``read_shares`` gives them.
        weights: at its end, by name; default: those of the last measurement.
        always_zero: names of pairs whose loss was 0 in all iterations.

    Returns: None without measurements.
    """
    if not measurements:
        return None
    pairs = {}
    for name, last in measurements[-1].pairs.items():
        measured = [each.pairs[name] for each in measurements if name in each.pairs]
        active = [each for each in measured if condition(each) != OFF]
        shares = [each.share for each in active if each.share is not None]
        share = statistics.median(shares) if shares else None
        kinds = {*map(condition, active)}
        if name in always_zero:
            kind = DEAD
        elif not active:
            kind = OFF
        elif kinds <= {DEAD, NOT_FINITE}:
            kind = DEAD if DEAD in kinds else NOT_FINITE
        else:
            kind = condition_of(share, last.wanted)
        weight = last.weight if weights is None else weights.get(name, last.weight)
        words = '' if kind in (FAIR, OFF) else advice(kind, active or measured)
        pairs[name] = PairVerdict(last.key, kind, share, weight, words)
    return RunVerdict(pairs, len(measurements))
