"""The tables of a report: every figure as text, and as a sort key."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from .details import Detail
from .protocol import Protocol
from .report import Comparison, Report, Row
from .statistics import Gain, Summary

NOT_RUN = 'not run yet'
_STARTS = {'same': 'same', 'own': 'own weights', 'other': 'DIFFERS'}
_FIDELITY = 'fidelity/'
_MEANINGS = {'fidelity/agreement': 'agrees', 'fidelity/kl': 'KL'}


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: its text.
        value: sort key; None comes last.
        small: additional text.
        kind: class of the style sheet: 'up', 'down', 'unsure', 'missing', 'alarm', ''.
    """

    text: str = ''
    value: float | str | None = None
    small: str = ''
    kind: str = ''


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: unique in a chapter.
        caption: its caption.
        columns: headings.
        rows: by the name of the recipe; the first cell is the heading of the row, and
            its kind that of the row: 'baseline', 'missing' or ''.
    """

    name: str
    caption: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]


Column = tuple[str, Callable[[Row], Cell]]


def tables_of(report: Report) -> list[Table]:
    """All tables that have something to show, that of the methods first."""
    tables = (
        *(_methods(report), _comparisons(report), _fidelity(report), _details(report)),
        *(_seeds(report), _recipes(report)),
    )
    return [table for table in tables if table.rows]


def score_text(protocol: Protocol, value: float) -> str:
    """A score, with the protocol's decimals."""
    return f'{value:.{protocol.decimals}f}'


def _methods(report: Report) -> Table:
    """By descending gain; methods without a run come last."""
    columns: list[Column] = [
        ('gain', partial(_gain_of, report)),
        (report.protocol.unit, lambda row: _summary(report.protocol, row.summary)),
        ('gap closed', lambda row: _number(row.gap_closed, '{:.0%}')),
        ('time', lambda row: _number(row.time_ratio, '{:.2f}x')),
        ('student alone, equal time', partial(_equal_time, report)),
        ('memory', partial(_memory, report)),
        *(
            (_MEANINGS[detail.metric], partial(_mean, '{:.3f}', detail))
            for detail in report.fidelity
            if detail.metric in _MEANINGS
        ),
        ('seeds', _finished),
        ('start', partial(_start, report)),
    ]
    gains = {row.name: row.gain.mean if row.gain else 0.0 for row in report.rows}
    rows = sorted(report.rows, key=lambda row: (not row.scores, -gains[row.name]))
    caption = f'Methods by gain in {report.protocol.unit} over {report.rows[0].name}'
    title = report.protocol.recipes[report.rows[0].name].title
    caption = f'Methods by gain in {report.protocol.unit} over {title}'
    return _table(report, 'methods', caption, columns, rows)


def _comparisons(report: Report) -> Table:
    protocol = report.protocol

    def cells(item: Comparison) -> Sequence[Cell]:
        first, second = (
            protocol.recipes[name].title for name in (item.first, item.second)
        )
        name = f'{first} {"<" if protocol.lower_is_better else ">"} {second}'
        differences = item.gain.differences.values() if item.gain else ()
        by_seed = ', '.join(_difference(protocol, value) for value in differences)
        gain = replace(_gain(protocol, item.gain), kind='')
        return Cell(name, name), gain, Cell(by_seed), Cell(item.verdict, item.verdict)

    return Table(
        'comparisons',
        'What the protocol expected, and what was seen',
        ('expected', 'gain', 'by seed', 'verdict'),
        {f'{item.first}/{item.second}': cells(item) for item in report.comparisons},
    )


def _fidelity(report: Report) -> Table:
    columns = [
        (
            detail.metric.removeprefix(_FIDELITY).replace('_', ' '),
            partial(_mean, '{:.3f}', detail),
        )
        for detail in report.fidelity
    ]
    rows = _measured(report, report.fidelity)
    caption = 'Fidelity to the teacher, mean over seeds'
    return _table(report, 'fidelity', caption, columns, rows)


def _details(report: Report) -> Table:
    form = f'{{:.{report.protocol.decimals}f}}'
    columns = [
        (detail.metric, partial(_mean, form, detail)) for detail in report.details
    ]
    scale = report.protocol.scale
    caption = f'Means over seeds{"" if scale == 1 else f", times {scale:g}"}'
    rows = _measured(report, report.details)
    table = _table(report, 'details', caption, columns, rows)
    if all(detail.teacher is None for detail in report.details):
        return table
    teacher = [_number(detail.teacher, form, '—') for detail in report.details]
    cells = (Cell('teacher', 'teacher', kind='baseline'), *teacher)
    return replace(table, rows={**table.rows, 'teacher': cells})


def _seeds(report: Report) -> Table:
    def score(seed: int, row: Row) -> Cell:
        if seed not in row.scores:
            return Cell(NOT_RUN if seed in row.missing else '—', kind='missing')
        value = row.scores[seed]
        return Cell(score_text(report.protocol, value), value)

    columns: list[Column] = [
        *((f'seed {seed}', partial(score, seed)) for seed in report.seeds),
        ('training, min', lambda row: _number(row.seconds and row.seconds / 60, '{:.1f}')),
        ('peak, MiB', lambda row: _number(row.peak_memory, '{:.0f}')),
    ]
    caption = f'{report.protocol.unit} by seed'
    return _table(report, 'seeds', caption, columns, report.rows)


def _recipes(report: Report) -> Table:
    def config(row: Row) -> Cell:
        recipe = report.protocol.recipes[row.name]
        options = ' '.join(f'{key}={value}' for key, value in recipe.options.items())
        return Cell(str(recipe.config), str(recipe.config), options)

    def note(row: Row) -> Cell:
        text = report.protocol.recipes[row.name].note
        return Cell(text, text)

    columns: list[Column] = [('config', config), ('note', note)]
    return _table(report, 'recipes', 'What was run', columns, report.rows)


def _table(
    report: Report,
    name: str,
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Row],
) -> Table:
    """A table of recipes, whose titles are the first column."""

    def head(row: Row) -> Cell:
        title = report.protocol.recipes[row.name].title
        small = '' if title.lower() == row.name else row.name
        kind = 'baseline' if row.name == report.protocol.baseline else ''
        return Cell(title, title.lower(), small, kind if row.scores else 'missing')

    every = [('method', head), *columns]
    return Table(
        name,
        caption,
        [title for title, _ in every],
        {row.name: [cell(row) for _, cell in every] for row in rows},
    )


def _measured(report: Report, details: Sequence[Detail]) -> list[Row]:
    return [
        row
        for row in report.rows
        if any(detail.recipes[row.name] is not None for detail in details)
    ]


def _number(value: float | None, form: str, missing: str = '') -> Cell:
    if value is None:
        return Cell(missing)
    return Cell(form.format(value).replace('%', ' %'), value)


def _difference(protocol: Protocol, value: float) -> str:
    return f'{value:+.{protocol.decimals}f}'


def _summary(protocol: Protocol, summary: Summary | None) -> Cell:
    if summary is None:
        return Cell()
    spread = '' if summary.std is None else f'± {score_text(protocol, summary.std)}'
    return Cell(score_text(protocol, summary.mean), summary.mean, spread)


def _gain(protocol: Protocol, gain: Gain | None) -> Cell:
    """A gain and its interval."""
    if gain is None:
        return Cell(kind='missing')
    small = '(one seed)'
    if gain.interval is not None:
        low, high = (_difference(protocol, end) for end in gain.interval)
        small = f'[{low}, {high}]'
    return Cell(_difference(protocol, gain.mean), gain.mean, small, gain.kind)


def _gain_of(report: Report, row: Row) -> Cell:
    if not row.scores:
        return Cell(NOT_RUN, kind='missing')
    if row.name == report.protocol.baseline:
        return Cell('baseline', 0.0, kind='unsure')
    return _gain(report.protocol, row.gain)


def _equal_time(report: Report, row: Row) -> Cell:
    """The student alone at equal time, and how far the row is above it."""
    if row.name == report.protocol.baseline or not row.scores:
        return Cell()
    item = row.equal_time
    if item is None or item.summary is None:
        return Cell(NOT_RUN, kind='missing')
    alone = _summary(report.protocol, item.summary)
    over = _gain(report.protocol, item.gain)
    text, small = (f'{each.text} {each.small}'.strip() for each in (alone, over))
    return Cell(text, over.value, small, over.kind)


def _memory(report: Report, row: Row) -> Cell:
    if row.name == report.protocol.baseline and row.scores:
        return Cell(f'{row.peak_memory:.0f} MiB', 0.0, kind='unsure')
    return _number(row.extra_memory, '{:+.0f} MiB')


def _mean(form: str, detail: Detail, row: Row) -> Cell:
    summary = detail.recipes[row.name]
    return _number(summary and summary.mean, form, '—' if row.scores else '')


def _finished(row: Row) -> Cell:
    """Its seeds with a run; its seeds if none has one."""
    finished = [seed for seed in row.planned if seed in row.scores]
    text = ', '.join(map(str, finished or row.planned))
    small, kind = '', '' if finished else 'missing'
    if len(finished) == 1:
        small, kind = '(one seed)', 'unsure'
    if finished and row.missing:
        small = f'({len(finished)} of {len(row.planned)} run)'
    return Cell(text, float(len(finished)), small, kind)


def _start(report: Report, row: Row) -> Cell:
    if row.name == report.protocol.baseline and row.scores:
        return Cell('baseline', 'baseline', kind='unsure')
    text = _STARTS.get(row.start, row.start)
    return Cell(text, text or None, kind='alarm' if row.start == 'other' else '')
