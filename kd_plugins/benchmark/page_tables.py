"""The tables of a report: every figure as text, and as a sort key."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

from .details import Detail
from .report import Report, Row
from .statistics import Gain, Summary

NOT_RUN = 'not run yet'


class Cell(NamedTuple):
    """A text, its sort key (None comes last), small print, and the class of its style.

    The first cell is the heading of its row, and its class is that of the row.
    """

    text: str = ''
    value: float | str | None = None
    small: str = ''
    kind: str = ''


class Table(NamedTuple):
    """The rows are cells, by the name of the recipe."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: dict[str, list[Cell]]


class Tables:
    """The tables of one report; rows by descending gain, what is not run yet last."""

    def __init__(self, report: Report) -> None:
        self.report, self.protocol = report, report.protocol
        gains = {row.name: row.gain.mean for row in report.rows if row.gain}
        gains[self.protocol.baseline] = 0.0
        self.rows = sorted(report.rows, key=lambda row: -gains.get(row.name, -inf))
        self.score = f'{{:.{self.protocol.decimals}f}}'
        self.difference = f'{{:+.{self.protocol.decimals}f}}'

    def all(self) -> list[Table]:
        """Those that have something to show, that of the methods first."""
        report, unit, scale = self.report, self.protocol.unit, self.protocol.scale
        first = report.rows[0]
        means = 'Means over seeds' + (f', times {scale:g}' if scale != 1 else '')
        fidelity = 'Fidelity to the teacher, mean over seeds'
        tables = (
            self._methods(f'Methods by gain in {unit} over {first.recipe.title}'),
            self._metrics('fidelity', fidelity, report.fidelity, '{:.3f}'),
            self._metrics('details', means, report.details, self.score),
            self._table(
                'seeds',
                f'{unit} by seed',
                *((f'seed {each}', partial(self._seed, each)) for each in report.seeds),
                ('training, min', lambda row: _number(row.minutes, '{:.1f}')),
                ('peak, MiB', lambda row: _number(row.peak_memory, '{:.0f}')),
            ),
            self._table(
                'recipes',
                'What was run',
                ('config', lambda row: Cell(row.config, row.config)),
                ('note', lambda row: Cell(row.recipe.note, row.recipe.note)),
            ),
        )
        return [table for table in tables if table.rows]

    def _methods(self, caption: str) -> Table:
        fidelity = {'fidelity/agreement': 'agrees', 'fidelity/kl': 'KL'}
        equal_time = [
            (f'{self._trained(each)}, equal time', partial(self._equal_time, each))
            for each in self.report.equal_time
        ]
        return self._table(
            'methods',
            caption,
            ('gain', self._gain_of),
            (self.protocol.unit, lambda row: self._summary(row.summary)),
            ('gap closed', lambda row: _number(row.gap_closed, '{:.0%}')),
            ('time', lambda row: _number(row.time_ratio, '{:.2f}x')),
            *equal_time,
            ('memory', self._memory),
            *(
                (fidelity[item.metric], partial(_mean, item, '{:.3f}'))
                for item in self.report.fidelity
                if item.metric in fidelity
            ),
            ('seeds', lambda row: Cell(row.seeds, len(row.scores))),
            ('start', lambda row: Cell(row.start, row.start, kind=row.start.lower())),
        )

    def _metrics(
        self, name: str, caption: str, details: Sequence[Detail], form: str
    ) -> Table:
        """Metrics beside the score, of the rows and of the teacher."""
        columns = ((item.title, partial(_mean, item, form)) for item in details)
        table = self._table(name, caption, *columns)
        if any(item.teacher is not None for item in details):
            cells = (_number(item.teacher, form, '—') for item in details)
            table.rows['teacher'] = [Cell('teacher', 'teacher', '', 'baseline'), *cells]
        return table

    def _table(
        self, name: str, caption: str, *columns: tuple[str, Callable[[Row], Cell]]
    ) -> Table:
        """A table of the recipes that have something to show in it."""
        titles, makers = zip(('method', self._title), *columns, strict=True)
        rows = {row.name: [make(row) for make in makers] for row in self.rows}
        for row in self.rows:
            if all(cell.value is None for cell in rows[row.name][1:]):
                del rows[row.name]
        return Table(name, caption, titles, rows)

    def _title(self, row: Row) -> Cell:
        title, name = row.recipe.title, row.name
        kind = 'baseline' if name == self.protocol.baseline else ''
        small = '' if title.lower() == name else name
        return Cell(title, title.lower(), small, kind if row.scores else 'missing')

    def _seed(self, seed: int, row: Row) -> Cell:
        missing = NOT_RUN if seed in row.planned else '—'
        return _number(row.scores.get(seed), self.score, missing)

    def _summary(self, summary: Summary | None, missing: str = '') -> Cell:
        if summary is None:
            return Cell(missing)
        spread = '' if summary.std is None else f'± {self.score.format(summary.std)}'
        return _number(summary.mean, self.score)._replace(small=spread)

    def _gain(self, gain: Gain | None) -> Cell:
        if gain is None:
            return Cell()
        ends = ', '.join(map(self.difference.format, gain.interval or ()))
        small = f'[{ends}]' if ends else '(one seed)'
        return Cell(self.difference.format(gain.mean), gain.mean, small, gain.kind)

    def _gain_of(self, row: Row) -> Cell:
        if not row.scores:
            return Cell(NOT_RUN)
        first = row is self.report.rows[0]
        return Cell('baseline', 0.0) if first else self._gain(row.gain)

    def _trained(self, name: str) -> str:
        baseline = name == self.protocol.baseline
        return 'student alone' if baseline else self.protocol.recipes[name].title

    def _equal_time(self, trained: str, row: Row) -> Cell:
        """A recipe, such as the student alone, at equal time, and the row's gain."""
        if trained not in row.equal_time:
            return Cell()
        alone = self._summary(row.equal_time[trained].summary, NOT_RUN)
        over = self._gain(row.equal_time[trained].gain)
        text, small = (f'{each.text} {each.small}'.strip() for each in (alone, over))
        return Cell(text, over.value, small, over.kind)

    def _memory(self, row: Row) -> Cell:
        if row is self.report.rows[0]:
            return _number(row.peak_memory, '{:.0f} MiB')._replace(value=0.0)
        return _number(row.extra_memory, '{:+.0f} MiB')


def _number(value: float | None, form: str, missing: str = '') -> Cell:
    if value is None:
        return Cell(missing)
    return Cell(form.format(value).replace('%', ' %'), value)


def _mean(detail: Detail, form: str, row: Row) -> Cell:
    summary = detail.recipes[row.name]
    return _number(summary.mean if summary else None, form, '—')
