"""What the finished runs say: rows, comparisons, and whether they may be compared."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .details import Detail, find_details
from .doubts import Results, doubts
from .machine import in_words
from .plan import Run
from .protocol import Protocol
from .statistics import (
    Gain,
    Summary,
    gap_closed,
    median_more,
    median_ratio,
    paired_gain,
    summarise,
)

FIDELITY = ('fidelity/*',)


@dataclass(frozen=True)
class Row:
    """One recipe.

    Attributes:
        name: of the recipe.
        scores: by seed, times the protocol's scale.
        missing: seeds that are not run yet.
        summary: mean and spread; None if nothing is finished.
        gain: over the baseline, of the seeds that both have; None for the baseline.
        gap_closed: share of the teacher's lead over the baseline that the gain closes.
        time_ratio: training time over that of the baseline, median over the seeds; or
            its step's time over the student's own, see ``Report.timed_with``.
        seconds: training time, median over the seeds.
        peak_memory: MiB, of the process or, on a GPU, of its tensors; median.
        extra_memory: how much more that is than the baseline's, median over the seeds.
        start: how it compares with the baseline's: 'same', 'own' (other weights, on
            purpose), 'other' or 'not recorded'; empty for the baseline and for what
            has no seed in common with it.
    """

    name: str
    scores: Mapping[int, float]
    missing: tuple[int, ...]
    summary: Summary | None = None
    gain: Gain | None = None
    gap_closed: float | None = None
    time_ratio: float | None = None
    seconds: float | None = None
    peak_memory: float | None = None
    extra_memory: float | None = None
    start: str = ''

    @property
    def planned(self) -> tuple[int, ...]:
        """Its seeds, run or not, in order."""
        return tuple(sorted({*self.scores, *self.missing}))


@dataclass(frozen=True)
class Comparison:
    """Whether one recipe is better than another, as the protocol asked.

    Attributes:
        first: expected to be better than the second.
        second: name of the other.
        gain: of the first over the second; None if they share no finished seed.
    """

    first: str
    second: str
    gain: Gain | None

    @property
    def verdict(self) -> str:
        """'seen in every seed', 'seen in the mean', 'not seen' or 'not run yet'.

        Of a single seed 'seen in the one seed', which proves nothing.
        """
        if self.gain is None:
            return 'not run yet'
        if self.gain.in_every_seed:
            single = len(self.gain.differences) == 1
            return 'seen in the one seed' if single else 'seen in every seed'
        return 'seen in the mean' if self.gain.mean > 0 else 'not seen'


@dataclass(frozen=True)
class StepTimes:
    """What ``--cost`` measured.

    Attributes:
        ratios: time of a step over that of the student's own, by recipe.
        measured_with: machine, versions and threads, in words.
    """

    ratios: Mapping[str, float]
    measured_with: str


@dataclass(frozen=True)
class Report:
    """All that the tables and the plot show.

    Attributes:
        protocol: what was compared.
        seeds: those asked for; a recipe may have fewer.
        teacher: its score; None if it is not evaluated yet, or there is none.
        rows: the baseline first.
        comparisons: in the protocol's order.
        details: metrics beside the score.
        fidelity: how far the student does what the teacher does, where that was
            measured; never scaled.
        unknown_details: sentences on those that the protocol asks for in vain.
        warnings: reasons why figures may not be compared; empty if there is none.
        timed_with: what measured the steps, in words, where ratios of time are those
            of steps; empty where they are those of whole trainings.
        measured_with: machine and versions, in words; empty if nothing is finished.
        runs: results as they were written.
    """

    protocol: Protocol
    seeds: tuple[int, ...]
    teacher: float | None
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    details: tuple[Detail, ...]
    fidelity: tuple[Detail, ...]
    unknown_details: tuple[str, ...]
    warnings: tuple[str, ...]
    timed_with: str
    measured_with: str
    runs: tuple[Mapping[str, Any], ...]

    @property
    def missing(self) -> int:
        """Number of runs that are not finished."""
        return sum(len(row.missing) for row in self.rows)


def make_report(
    protocol: Protocol,
    runs: Sequence[Run],
    teacher: Run | None = None,
    times: StepTimes | None = None,
) -> Report:
    """Gather what is finished.

    Args:
        protocol: what is compared.
        runs: of all recipes and seeds asked for.
        teacher: its evaluation, where the protocol does not give its score.
        times: of steps, taken where there is one for each finished recipe but the
            baseline.
    """
    names = list(dict.fromkeys(run.recipe for run in runs))
    seeds = tuple(dict.fromkeys(run.seed for run in runs if run.seed is not None))
    results: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in names}
    planned: dict[str, list[int]] = {name: [] for name in names}
    for run in runs:
        if run.seed is None:
            continue
        planned[run.recipe].append(run.seed)
        result = run.result()
        if result is not None:
            results[run.recipe][run.seed] = result
    scores = {
        name: _column(found, 'score', protocol.scale) for name, found in results.items()
    }
    evaluated = teacher.result() if teacher is not None else None
    teacher_score = _teacher_score(protocol, evaluated)
    ratios = {} if times is None else {**times.ratios, protocol.baseline: 1.0}
    untimed = [name for name in names if scores[name] and name not in ratios]
    timed_with = '' if times is None or untimed else times.measured_with
    rows = tuple(
        _row(protocol, name, planned[name], results, scores, teacher_score)
        for name in names
    )
    if timed_with:
        rows = tuple(
            replace(row, time_ratio=ratios[row.name] if row.scores else None)
            for row in rows
        )
    comparisons = tuple(
        Comparison(first, second, _gain(protocol, scores[first], scores[second]))
        for first, second in protocol.comparisons
        if first in scores and second in scores
    )
    finished = [result for found in results.values() for result in found.values()]
    details, unknown_details = find_details(
        protocol.details, results, evaluated, protocol.scale
    )
    fidelity, _ = find_details(FIDELITY, results, None, 1.0)
    return Report(
        protocol,
        seeds,
        teacher_score,
        rows,
        comparisons,
        details,
        fidelity,
        unknown_details,
        (
            *(_untimed(untimed) if times is not None and untimed else ()),
            *doubts(protocol, runs, results, steps_timed=bool(timed_with)),
        ),
        timed_with,
        in_words(finished[0]['machine'], finished[0]['versions']) if finished else '',
        tuple(finished),
    )


def _untimed(names: Sequence[str]) -> tuple[str]:
    return (
        'Times are those of whole trainings, as --cost has not measured the present '
        f'config of: {", ".join(names)}.',
    )


def _gain(
    protocol: Protocol, scores: Mapping[int, float], reference: Mapping[int, float]
) -> Gain | None:
    return paired_gain(scores, reference, lower_is_better=protocol.lower_is_better)


def _teacher_score(
    protocol: Protocol, result: Mapping[str, Any] | None
) -> float | None:
    if protocol.teacher is not None and protocol.teacher.score is not None:
        return protocol.teacher.score * protocol.scale
    return None if result is None else float(result['score']) * protocol.scale


def _column(found: Results, key: str, scale: float = 1.0) -> dict[int, float]:
    return {seed: float(result[key]) * scale for seed, result in found.items()}


def _row(
    protocol: Protocol,
    name: str,
    seeds: Sequence[int],
    results: Mapping[str, Results],
    all_scores: Mapping[str, Mapping[int, float]],
    teacher: float | None,
) -> Row:
    scores = all_scores[name]
    missing = tuple(seed for seed in seeds if seed not in scores)
    if not scores:
        return Row(name, scores, missing)
    found = results[name]
    reference = all_scores[protocol.baseline]
    seconds, memory = _column(found, 'seconds'), _column(found, 'peak_memory')
    others = results[protocol.baseline]
    gain = _gain(protocol, scores, reference) if name != protocol.baseline else None
    closed = None
    if gain is not None and teacher is not None:
        # Over the same seeds as the gain.
        baseline = statistics.fmean(reference[seed] for seed in gain.differences)
        closed = gap_closed(gain.mean, protocol.gain(teacher, baseline))
    return Row(
        name,
        scores,
        missing,
        summarise(list(scores.values())),
        gain,
        closed,
        median_ratio(seconds, _column(others, 'seconds')),
        statistics.median(seconds.values()),
        statistics.median(memory.values()),
        median_more(memory, _column(others, 'peak_memory')),
        '' if name == protocol.baseline else _start(protocol, name, found, others),
    )


def _start(protocol: Protocol, name: str, found: Results, others: Results) -> str:
    """How the start of a recipe compares with the baseline's, see Row."""
    seeds = found.keys() & others.keys()
    if not seeds:
        return ''
    keys = ['student', 'batches']
    if protocol.recipes[name].own_start:
        keys.remove('student')
    pairs = [
        tuple((result.get('start') or {}).get(key) for result in both)
        for both in ((found[seed], others[seed]) for seed in seeds)
        for key in keys
    ]
    if any(None in pair for pair in pairs):
        return 'not recorded'
    if any(own != other for own, other in pairs):
        return 'other'
    return 'own' if protocol.recipes[name].own_start else 'same'
