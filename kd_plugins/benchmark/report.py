"""The report of finished runs: rows, comparisons and warnings."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .details import Detail, find_details
from .doubts import Results, doubts
from .equal_time import EqualTime, EqualTimeScores, equal_time_scores
from .machine import in_words
from .plan import Run
from .protocol import Protocol, Recipe
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
        recipe: of the protocol.
        scores: by seed, times the protocol's scale.
        missing: seeds without a run.
        summary: mean and spread; None without a finished run.
        gain: over the baseline, of the common seeds; None for the baseline.
        gap_closed: gain as a share of the teacher's lead over the baseline.
        time_ratio: training time divided by that of the baseline, median over the
            seeds; or the same of a step and a step of the student alone, see
            ``Report.timed_with``.
        seconds: training time, median over the seeds.
        peak_memory: MiB, of the process or, on a GPU, of its tensors; median.
        extra_memory: difference to the baseline's, median over the seeds.
        start: compared with the baseline's: 'same', 'own' (deliberately other weights),
            'other' or 'not recorded'; empty for the baseline, and without a common
            seed.
        equal_time: the student alone after as many seconds; None: not planned.
    """

    recipe: Recipe
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
    equal_time: EqualTimeScores | None = None

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.recipe.name

    @property
    def planned(self) -> tuple[int, ...]:
        """Its seeds, with or without a run, in order."""
        return tuple(sorted({*self.scores, *self.missing}))


@dataclass(frozen=True)
class Comparison:
    """A comparison of two recipes, from the protocol.

    Attributes:
        first: expected to be better than the second.
        second: name of the second recipe.
        gain: of the first over the second; None without a common finished seed.
    """

    first: str
    second: str
    gain: Gain | None

    @property
    def verdict(self) -> str:
        """'seen in every seed', 'seen in the mean', 'not seen' or 'not run yet'.

        For a single seed 'seen in the one seed', which proves nothing.
        """
        if self.gain is None:
            return 'not run yet'
        if self.gain.in_every_seed:
            single = len(self.gain.differences) == 1
            return 'seen in the one seed' if single else 'seen in every seed'
        return 'seen in the mean' if self.gain.mean > 0 else 'not seen'


@dataclass(frozen=True)
class StepTimes:
    """Step times, measured by ``--cost``.

    Attributes:
        ratios: time of a step divided by that of the student alone, by recipe.
        measured_with: machine, versions and threads, in words.
    """

    ratios: Mapping[str, float]
    measured_with: str


@dataclass(frozen=True)
class Report:
    """The content of the tables and the plot.

    Attributes:
        protocol: of the benchmark.
        seeds: the requested seeds; a recipe may have fewer.
        teacher: score of the teacher; None without an evaluation or a teacher.
        rows: the baseline first.
        comparisons: in the protocol's order.
        details: metrics beside the score.
        fidelity: measures of fidelity, without the scale.
        unknown_details: sentences on details without a match.
        warnings: reasons against a comparison; empty if there are none.
        timed_with: machine of the step times, in words, if time ratios are those of
            steps; empty if they are those of whole trainings.
        measured_with: machine and versions, in words; empty without a finished run.
        runs: results of the finished runs.
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
    def lead(self) -> float | None:
        """Of the teacher over the baseline; None without a score of both."""
        baseline = self.rows[0].summary
        if self.teacher is None or baseline is None:
            return None
        return self.protocol.gain(self.teacher, baseline.mean)


def make_report(
    protocol: Protocol,
    runs: Sequence[Run],
    teacher: Run | None = None,
    times: StepTimes | None = None,
    *,
    equal_time: Mapping[str, EqualTime] | None = None,
) -> Report:
    """The report of all finished runs.

    Args:
        protocol: of the benchmark.
        runs: of all requested recipes and seeds.
        teacher: evaluation of the teacher, if the protocol does not give its score.
        times: of steps; used if each finished recipe but the baseline has one.
        equal_time: the student alone for as long as each row, by recipe.
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
        name: _column(items, 'score', protocol.scale) for name, items in results.items()
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
    rows = tuple(
        replace(
            row,
            equal_time=equal_time_scores(protocol, equal_time[row.name], row.scores),
        )
        if equal_time and row.name in equal_time
        else row
        for row in rows
    )
    comparisons = tuple(
        Comparison(first, second, _gain(protocol, scores[first], scores[second]))
        for first, second in protocol.comparisons
        if first in scores and second in scores
    )
    finished = [result for items in results.values() for result in items.values()]
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


def _column(results: Results, key: str, scale: float = 1.0) -> dict[int, float]:
    return {seed: float(result[key]) * scale for seed, result in results.items()}


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
        return Row(protocol.recipes[name], scores, missing)
    recipe = results[name]
    baseline = results[protocol.baseline]
    reference = all_scores[protocol.baseline]
    seconds, memory = _column(recipe, 'seconds'), _column(recipe, 'peak_memory')
    gain = _gain(protocol, scores, reference) if name != protocol.baseline else None
    closed = None
    if gain is not None and teacher is not None:
        # Over the same seeds as the gain.
        mean = statistics.fmean(reference[seed] for seed in gain.differences)
        closed = gap_closed(gain.mean, protocol.gain(teacher, mean))
    return Row(
        protocol.recipes[name],
        scores,
        missing,
        summarise(list(scores.values())),
        gain,
        closed,
        median_ratio(seconds, _column(baseline, 'seconds')),
        statistics.median(seconds.values()),
        statistics.median(memory.values()),
        median_more(memory, _column(baseline, 'peak_memory')),
        '' if name == protocol.baseline else _start(protocol, name, recipe, baseline),
    )


def _start(protocol: Protocol, name: str, recipe: Results, baseline: Results) -> str:
    """The start of a recipe compared with the baseline's, see Row."""
    seeds = recipe.keys() & baseline.keys()
    if not seeds:
        return ''
    keys = ['student', 'batches']
    if protocol.recipes[name].own_start:
        keys.remove('student')
    pairs = [
        tuple((result.get('start') or {}).get(key) for result in both)
        for both in ((recipe[seed], baseline[seed]) for seed in seeds)
        for key in keys
    ]
    if any(None in pair for pair in pairs):
        return 'not recorded'
    if any(start != reference for start, reference in pairs):
        return 'other'
    return 'own' if protocol.recipes[name].own_start else 'same'
