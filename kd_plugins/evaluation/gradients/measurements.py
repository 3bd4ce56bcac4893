"""Measurements of gradient shares over a training, in a file and out of it."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .shares import GradientShares

FILE = 'gradient_shares.jsonl'


@dataclass(frozen=True)
class PairShare:
    """One pair at one measurement; numbers that are not finite are None.

    Attributes:
        key: its configuration key.
        weight: its loss weight in the step that follows.
        share: its gradient at this weight over the task's, at ``part``.
        part: 'backbone', or 'heads' for a pair that does not reach the backbone.
        cosine: of its gradient and the task's there.
        value: of its loss at weight 1.
        verdict: as of :meth:`GradientShares.verdict`.
        wanted: the share that its ``GradientShare`` keeps; None without one.
    """

    key: str
    weight: float
    share: float | None
    part: str
    cosine: float | None
    value: float | None
    verdict: str
    wanted: float | None = None


@dataclass(frozen=True)
class ShareMeasurement:
    """Gradient shares of all pairs at one iteration; a line of the file.

    Of several processes these are means over the ranks.

    Attributes:
        started: iteration at which this attempt of the run began: 0, or where it was
            resumed.
        iteration: number of finished iterations; measured right before a step, on its
            batch.
        max_iterations: of the whole training.
        task_value: the task's losses, summed as they are weighted.
        task_gradient: L2 norm of their gradient, by part of the student.
        pairs: by name.
    """

    started: int
    iteration: int
    max_iterations: int
    task_value: float | None
    task_gradient: Mapping[str, float | None]
    pairs: Mapping[str, PairShare]


def measurement_of(
    shares: GradientShares,
    *,
    started: int,
    iteration: int,
    max_iterations: int,
    wanted: Mapping[str, float] | None = None,
) -> ShareMeasurement:
    """What a line of the file says of shares.

    Args:
        shares: at the weights of the step that follows.
        started: iteration at which this attempt of the run began.
        iteration: number of finished iterations.
        max_iterations: of the whole training.
        wanted: shares that are kept, by name of the pair.
    """
    pairs = {
        name: PairShare(
            key=pair.key,
            weight=pair.weight,
            share=_finite(shares.share(name)),
            part=shares.part_of(name),
            cosine=_finite(shares.cosine(name)),
            value=_finite(pair.value),
            verdict=shares.verdict(name),
            wanted=(wanted or {}).get(name),
        )
        for name, pair in shares.pairs.items()
    }
    norms = {part: _finite(norm) for part, norm in shares.task_norms.items()}
    value = _finite(shares.task_value)
    return ShareMeasurement(started, iteration, max_iterations, value, norms, pairs)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def append_measurement(path: Path, measurement: ShareMeasurement) -> None:
    """Add a line to a file, which is made where there is none."""
    with path.open('a') as file:
        file.write(json.dumps(asdict(measurement)) + '\n')


def read_shares(work_dir: str | Path) -> list[ShareMeasurement]:
    """Measurements of a run, by iteration, all its attempts joined.

    An attempt replaces what earlier ones measured after the iteration at which it
    began: a resumed one the repeated part, a new run everything.

    Args:
        work_dir: of the run, with ``<timestamp>/gradient_shares.jsonl``.

    Returns: an empty list for a run that measured nothing.
    """
    measurements: list[ShareMeasurement] = []
    for path in sorted(Path(work_dir).glob(f'*/{FILE}')):  # by time of start
        last: tuple[int, int] | None = None
        for each in _lines(path):
            # Attempts of one second share a file.
            if last is None or each.started != last[0] or each.iteration <= last[1]:
                begin = each.started
                measurements = [old for old in measurements if old.iteration < begin]
            measurements.append(each)
            last = each.started, each.iteration
    return measurements


def _lines(path: Path) -> Iterator[ShareMeasurement]:
    for text in path.read_text(errors='replace').splitlines():
        try:
            line = json.loads(text)
            pairs = {name: PairShare(**pair) for name, pair in line['pairs'].items()}
            yield ShareMeasurement(**{**line, 'pairs': pairs})
        except (ValueError, TypeError, KeyError, AttributeError):  # cut off by a kill
            continue
