"""The report of finished runs: rows, comparisons and warnings."""

import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from operator import sub, truediv
from typing import Any, NamedTuple

from .details import find_details
from .doubts import Results, doubts
from .equal_time import EqualTime, equal_time_scores
from .machine import in_words
from .plan import Run
from .protocol import Protocol
from .statistics import Gain, gap_closed, paired_gain, paired_median, summarise


class StepTimes(NamedTuple):
    """Times of steps over those of the student alone, by recipe, and the machine."""

    ratios: Mapping[str, float]
    measured_with: str


class Report:
    """The figures of all finished runs.

    Args:
        protocol: of the benchmark.
        runs: of all requested recipes and seeds.
        teacher: evaluation of the teacher, if the protocol does not give its score.
        times: of steps; used if each finished recipe but the baseline has one.
        equal_time: recipes that are trained as long as others, such as the student
            alone, by name; of each the runs by the recipe that they are as long as.
    """

    def __init__(
        self,
        protocol: Protocol,
        runs: Sequence[Run],
        teacher: Run | None = None,
        times: StepTimes | None = None,
        *,
        equal_time: Mapping[str, Mapping[str, EqualTime]] | None = None,
    ) -> None:
        self.protocol = protocol
        self.title = protocol.title or protocol.name
        self.page = re.sub(r'[^\w-]', '-', protocol.name)  # begins ids on a page
        seeds = (run.seed for run in runs if run.seed is not None)
        self.seeds = tuple(dict.fromkeys(seeds))
        self.results: dict[str, dict[int, Mapping[str, Any]]] = {}
        for run in runs:
            found, result = self.results.setdefault(run.recipe, {}), run.result()
            if run.seed is not None and result is not None:
                found[run.seed] = result
        self.runs = [result for own in self.results.values() for result in own.values()]
        self.machines = Counter(
            f'{in_words(run["machine"], run["versions"])}; runs side by side: '
            f'{run["jobs"]}'
            for run in self.runs
        )
        evaluated = teacher.result() if teacher is not None else None
        score = protocol.teacher.score if protocol.teacher is not None else None
        score = score if evaluated is None else float(evaluated['score'])
        self.teacher = None if score is None else score * protocol.scale
        ratios = {**times.ratios, protocol.baseline: 1.0} if times else {}
        finished = [name for name, own in self.results.items() if own]
        untimed = [name for name in finished if name not in ratios]
        self.step_ratios = {} if untimed else ratios
        # The machine of the steps; empty if time ratios are those of whole trainings.
        self.timed_with = times.measured_with if times and not untimed else ''
        self.time_unit = (
            "the student's step" if self.timed_with else "the baseline's training time"
        )
        self.equal_time = equal_time or {}
        self.rows = [Row(self, name) for name in self.results]  # the baseline first
        self.points = [  # of drawings
            (row, row.time_ratio, row.gain)
            for row in self.rows
            if row.gain and row.time_ratio is not None and not row.recipe.own_start
        ]
        baseline = self.rows[0].summary
        self.lead: float | None = None  # of the teacher over the baseline
        if self.teacher is not None and baseline is not None:
            self.lead = protocol.gain(self.teacher, baseline.mean)
        self.comparisons = [
            (first, second, self.gain(first, second))
            for first, second in protocol.comparisons
            if first in self.results and second in self.results
        ]
        self.details, unknown = find_details(
            protocol.details, self.results, evaluated, protocol.scale
        )
        self.fidelity, _ = find_details(('fidelity/*',), self.results, None, 1.0)
        self.warnings = [
            *doubts(protocol, runs, self.results, steps_timed=bool(self.timed_with)),
            *unknown,
        ]
        if times and untimed:
            self.warnings.append(
                'Times are those of whole trainings, as --cost has not measured the '
                f'present config of: {", ".join(untimed)}.'
            )

    def column(self, name: str, key: str, scale: float = 1.0) -> dict[int, float]:
        """One figure of a recipe, by seed."""
        return {
            seed: float(run[key]) * scale for seed, run in self.results[name].items()
        }

    def scores(self, name: str) -> dict[int, float]:
        """Of a recipe, by seed, times the protocol's scale."""
        return self.column(name, 'score', self.protocol.scale)

    def gain(self, name: str, reference: str) -> Gain | None:
        """Of a recipe over another; None without a common finished seed."""
        scores, lower = self.scores(name), self.protocol.lower_is_better
        return paired_gain(scores, self.scores(reference), lower_is_better=lower)


class Row:
    """One recipe; a figure without a run, or without a common seed, is None."""

    def __init__(self, report: Report, name: str) -> None:
        protocol, base = report.protocol, report.protocol.baseline
        self.name, self.recipe = name, protocol.recipes[name]
        self.protocol = protocol
        self.id = f'{report.page}--{name}'  # on the page
        options = (f'{key}={value}' for key, value in self.recipe.options.items())
        self.config = ' '.join([str(self.recipe.config), *options])
        self.planned = self.recipe.seeds_of(report.seeds)
        self.scores = report.scores(name)
        self.seeds = ', '.join(map(str, self.scores or self.planned))
        self.summary = summarise(list(self.scores.values())) if self.scores else None
        self.gain = report.gain(name, base) if name != base else None
        self.gap_closed: float | None = None  # a share of the teacher's lead
        if self.gain and report.teacher is not None:
            scores = report.scores(base)  # over the same seeds as the gain
            mean = statistics.fmean(scores[seed] for seed in self.gain.differences)
            lead = protocol.gain(report.teacher, mean)
            self.gap_closed = gap_closed(self.gain.mean, lead)
        # Medians over the seeds; MiB of the process or, on a GPU, of its tensors.
        seconds = report.column(name, 'seconds')
        memory = report.column(name, 'peak_memory')
        self.seconds = statistics.median(seconds.values()) if seconds else None
        self.minutes = self.seconds and self.seconds / 60
        self.peak_memory = statistics.median(memory.values()) if memory else None
        baseline = partial(report.column, base)
        self.extra_memory = paired_median(sub, memory, baseline('peak_memory'))
        self.time_ratio = paired_median(truediv, seconds, baseline('seconds'))
        if self.scores and report.timed_with:
            self.time_ratio = report.step_ratios[name]
        self.start = self._start(report.results[name], report.results[base])
        # Of recipes, such as the student alone, after as many seconds, by their names.
        self.equal_time = {
            trained: equal_time_scores(protocol, rows[name], self.scores)
            for trained, rows in report.equal_time.items()
            if name in rows
        }

    def _start(self, results: Results, baseline: Results) -> str:
        """The start compared with the baseline's; empty without a common seed."""
        keys = ('batches',) if self.recipe.own_start else ('student', 'batches')
        pairs = [
            [(each[seed].get('start') or {}).get(key) for each in (results, baseline)]
            for seed in results.keys() & baseline.keys()
            for key in keys
        ]
        if any(None in pair for pair in pairs):
            return 'not recorded'
        if any(start != reference for start, reference in pairs):
            return 'DIFFERS'
        same = 'own weights' if self.recipe.own_start else 'same'
        return same if pairs else ''
