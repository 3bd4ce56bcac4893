"""The tables of a report: every figure as text, and as a sort key."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

from .details import Detail
from .report import Report, Row
from .statistics import Gain, Summary

NOT_RUN = 'not run yet'
_STARTS = {'same': 'same', 'own': 'own weights', 'other': 'DIFFERS'}
_FIDELITY = 'Fidelity to the teacher, mean over seeds'
_MEANINGS = {'fidelity/agreement': 'agrees', 'fidelity/kl': 'KL'}


class Cell(NamedTuple):
    """A text, its sort key (None comes last), small print, and the class of its style.

    The first cell is the heading of its row, and has the style of the whole row.
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


Column = tuple[str, Callable[[Row], Cell]]


class Tables:
    """The tables of one report."""

    def __init__(self, report: Report) -> None:
        self.report, self.protocol = report, report.protocol
        self.score = f'{{:.{self.protocol.decimals}f}}'
        self.difference = f'{{:+.{self.protocol.decimals}f}}'.format

    def all(self) -> list[Table]:
        """Those that have something to show, that of the methods first."""
        scale = '' if self.protocol.scale == 1 else f', times {self.protocol.scale:g}'
        fidelity = {
            item.metric.removeprefix('fidelity/').replace('_', ' '): item
            for item in self.report.fidelity
        }
        details = {item.metric: item for item in self.report.details}
        seeds: list[Column] = [
            *(
                (f'seed {each}', partial(self._seed, each))
                for each in self.report.seeds
            ),
            (
                'training, min',
                lambda row: _number(row.seconds and row.seconds / 60, '{:.1f}'),
            ),
            ('peak, MiB', lambda row: _number(row.peak_memory, '{:.0f}')),
        ]
        recipes: list[Column] = [
            ('config', _config),
            ('note', lambda row: Cell(row.recipe.note, row.recipe.note)),
        ]
        means = f'Means over seeds{scale}'
        rows = self.report.rows
        tables = (
            self._methods(),
            self._comparisons(),
            self._metrics('fidelity', _FIDELITY, fidelity, '{:.3f}'),
            self._metrics('details', means, details, self.score),
            self._table('seeds', f'{self.protocol.unit} by seed', seeds, rows),
            self._table('recipes', 'What was run', recipes, rows),
        )
        return [table for table in tables if table.rows]

    def _methods(self) -> Table:
        """By descending gain; what is not run yet comes last."""
        columns: list[Column] = [
            ('gain', self._gain_of),
            (self.protocol.unit, lambda row: self._summary(row.summary)),
            ('gap closed', lambda row: _number(row.gap_closed, '{:.0%}')),
            ('time', lambda row: _number(row.time_ratio, '{:.2f}x')),
            ('student alone, equal time', self._equal_time),
            ('memory', self._memory),
            *(
                (_MEANINGS[item.metric], partial(_mean, item, '{:.3f}'))
                for item in self.report.fidelity
                if item.metric in _MEANINGS
            ),
            ('seeds', _finished),
            ('start', self._start),
        ]
        first, *others = self.report.rows
        gains = {row.name: row.gain.mean if row.gain else -inf for row in others}
        gains[first.name] = 0.0
        rows = sorted(self.report.rows, key=lambda row: -gains[row.name])
        caption = f'Methods by gain in {self.protocol.unit} over {first.recipe.title}'
        return self._table('methods', caption, columns, rows)

    def _comparisons(self) -> Table:
        sign = '<' if self.protocol.lower_is_better else '>'
        rows = {}
        for item in self.report.comparisons:
            first, second = (
                self.protocol.recipes[name].title for name in (item.first, item.second)
            )
            name = f'{first} {sign} {second}'
            seeds = item.gain.differences.values() if item.gain else ()
            rows[name] = [
                Cell(name, name),
                self._gain(item.gain)._replace(kind=''),
                Cell(', '.join(map(self.difference, seeds))),
                Cell(item.verdict, item.verdict),
            ]
        caption = 'What the protocol expected, and what was seen'
        columns = ('expected', 'gain', 'by seed', 'verdict')
        return Table('comparisons', caption, columns, rows)

    def _metrics(
        self, name: str, caption: str, details: dict[str, Detail], form: str
    ) -> Table:
        """Metrics beside the score, of the rows that have one, and of the teacher."""
        items = details.values()
        measured = (
            row
            for row in self.report.rows
            if any(item.recipes[row.name] for item in items)
        )
        columns = [(key, partial(_mean, item, form)) for key, item in details.items()]
        table = self._table(name, caption, columns, measured)
        if any(item.teacher is not None for item in items):
            cells = (_number(item.teacher, form, '—') for item in items)
            table.rows['teacher'] = [Cell('teacher', 'teacher', '', 'baseline'), *cells]
        return table

    def _table(
        self, name: str, caption: str, columns: Sequence[Column], rows: Iterable[Row]
    ) -> Table:
        """A table of recipes, whose titles are the first column."""

        def head(row: Row) -> Cell:
            title = row.recipe.title
            kind = 'baseline' if row.name == self.protocol.baseline else ''
            return Cell(
                title,
                title.lower(),
                '' if title.lower() == row.name else row.name,
                kind if row.scores else 'missing',
            )

        columns = [('method', head), *columns]
        cells = {row.name: [cell(row) for _, cell in columns] for row in rows}
        return Table(name, caption, [title for title, _ in columns], cells)

    def _seed(self, seed: int, row: Row) -> Cell:
        if seed in row.scores:
            return _number(row.scores[seed], self.score)
        return Cell(NOT_RUN if seed in row.missing else '—', kind='missing')

    def _summary(self, summary: Summary | None) -> Cell:
        if summary is None or summary.std is None:
            return _number(summary.mean if summary else None, self.score)
        spread = f'± {self.score.format(summary.std)}'
        return Cell(self.score.format(summary.mean), summary.mean, spread)

    def _gain(self, gain: Gain | None) -> Cell:
        if gain is None:
            return Cell(kind='missing')
        ends = ', '.join(map(self.difference, gain.interval or ()))
        small = f'[{ends}]' if ends else '(one seed)'
        return Cell(self.difference(gain.mean), gain.mean, small, gain.kind)

    def _gain_of(self, row: Row) -> Cell:
        if not row.scores:
            return Cell(NOT_RUN, kind='missing')
        if row.name == self.protocol.baseline:
            return Cell('baseline', 0.0, kind='unsure')
        return self._gain(row.gain)

    def _equal_time(self, row: Row) -> Cell:
        """The student alone at equal time, and how far the row is above it."""
        if row.name == self.protocol.baseline or not row.scores:
            return Cell()
        if row.equal_time is None or row.equal_time.summary is None:
            return Cell(NOT_RUN, kind='missing')
        alone = self._summary(row.equal_time.summary)
        over = self._gain(row.equal_time.gain)
        text, small = (f'{each.text} {each.small}'.strip() for each in (alone, over))
        return Cell(text, over.value, small, over.kind)

    def _memory(self, row: Row) -> Cell:
        if row.name == self.protocol.baseline and row.scores:
            return Cell(f'{row.peak_memory:.0f} MiB', 0.0, kind='unsure')
        return _number(row.extra_memory, '{:+.0f} MiB')

    def _start(self, row: Row) -> Cell:
        if row.name == self.protocol.baseline:
            return Cell('baseline', 'baseline', kind='unsure')
        text = _STARTS.get(row.start, row.start)
        return Cell(text, text or None, kind='alarm' if row.start == 'other' else '')


def _number(value: float | None, form: str, missing: str = '') -> Cell:
    if value is None:
        return Cell(missing)
    return Cell(form.format(value).replace('%', ' %'), value)


def _config(row: Row) -> Cell:
    options = ' '.join(f'{key}={value}' for key, value in row.recipe.options.items())
    return Cell(str(row.recipe.config), str(row.recipe.config), options)


def _mean(detail: Detail, form: str, row: Row) -> Cell:
    summary = detail.recipes[row.name]
    return _number(summary.mean if summary else None, form, '—' if row.scores else '')


def _finished(row: Row) -> Cell:
    """Seeds that have a run; all of them if none has one."""
    seeds = [seed for seed in row.planned if seed in row.scores]
    kind = {0: 'missing', 1: 'unsure'}.get(len(seeds), '')
    small = '(one seed)' if len(seeds) == 1 else ''
    if seeds and row.missing:
        small = f'({len(seeds)} of {len(row.planned)} run)'
    return Cell(', '.join(map(str, seeds or row.planned)), len(seeds), small, kind)
