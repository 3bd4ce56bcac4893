"""The tables of a report's pages: every figure as text, and as a sort key."""

from dataclasses import dataclass, field

from .details import Detail
from .report import Report, Row
from .statistics import Gain
from .table import (
    EQUAL_TIME,
    NOT_RUN,
    difference_text,
    equal_time_texts,
    gain_interval,
    score_text,
)

_STARTS = {
    'same': 'same',
    'own': 'own weights',
    'other': 'DIFFERS',
    'not recorded': 'not recorded',
}
_FIDELITY = 'fidelity/'
METHODS, COMPARISONS = 'methods', 'comparisons'  # names of these tables
GAIN = 1  # number of that column in the table of methods


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: its text.
        value: sort key; None comes last.
        small: additional text.
        kind: class of the style sheet: 'unsure', 'missing', 'alarm', ''.
    """

    text: str
    value: float | str | None = None
    small: str = ''
    kind: str = ''


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        name: of the recipe, or of another row.
        cells: one for each column; the first is the heading of the row.
        kind: class of the style sheet: 'baseline', 'missing', ''.
    """

    name: str
    cells: tuple[Cell, ...]
    kind: str = ''


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: unique on the page.
        caption: its caption.
        columns: headings.
        lines: its rows.
        texts: numbers of the columns of words, which align to the left.
        sorted_by: number of the column by which the rows descend.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    texts: tuple[int, ...] = field(default=(0,))
    sorted_by: int | None = None


def methods_table(report: Report) -> Table:
    """A row for each method, by descending gain; methods without a run come last."""
    unit = report.protocol.unit
    rows = sorted(report.rows, key=lambda row: -_gain_value(report, row))
    measured = [detail for detail in report.fidelity if _short(detail) in _MEANINGS]
    lines = []
    for row in rows:
        ends = (_seeds(row), _start(report, row))
        if row.summary is None:
            empty = [Cell('', kind='missing')] * (5 + len(measured))
            cells = (Cell(NOT_RUN, kind='missing'), *empty, *ends)
            lines.append(Line(row.name, (_method(report, row), *cells), 'missing'))
            continue
        cells = (
            *(gain_cell(report, row), _score(report, row), _closed(row)),
            *(_time(row), _equal_time(report, row), _memory(report, row)),
            *(_fidelity(detail, row) for detail in measured),
        )
        kind = 'baseline' if row.name == report.protocol.baseline else ''
        lines.append(Line(row.name, (_method(report, row), *cells, *ends), kind))
    columns = (
        *('method', 'gain', unit, 'gap closed', 'time', EQUAL_TIME, 'memory'),
        *(_MEANINGS[_short(detail)] for detail in measured),
        *('seeds', 'start'),
    )
    caption = f'Methods by gain in {unit} over {_title(report, report.rows[0].name)}'
    texts = (0, len(columns) - 2, len(columns) - 1)
    return Table(METHODS, caption, columns, tuple(lines), texts, GAIN)


def fidelity_table(report: Report) -> Table | None:
    """All measures of fidelity; None if there are none."""
    if not report.fidelity:
        return None
    lines = tuple(
        Line(
            row.name,
            (_method(report, row), *(_fidelity(item, row) for item in report.fidelity)),
        )
        for row in report.rows
        if any(item.recipes[row.name] is not None for item in report.fidelity)
    )
    columns = ('method', *(_short(item).replace('_', ' ') for item in report.fidelity))
    return Table('fidelity', 'Fidelity to the teacher, mean over seeds', columns, lines)


def details_table(report: Report) -> Table | None:
    """The protocol's further metrics; None if there are none."""
    if not report.details:
        return None
    protocol = report.protocol

    def cell(value: float | None) -> Cell:
        return Cell('—') if value is None else Cell(score_text(protocol, value), value)

    lines = []
    for row in report.rows:
        summaries = [detail.recipes[row.name] for detail in report.details]
        if any(item is not None for item in summaries):
            cells = (cell(None if item is None else item.mean) for item in summaries)
            lines.append(Line(row.name, (_method(report, row), *cells)))
    if any(detail.teacher is not None for detail in report.details):
        cells = (cell(detail.teacher) for detail in report.details)
        lines.append(Line('teacher', (Cell('teacher', 'teacher'), *cells), 'baseline'))
    columns = ('method', *(detail.metric for detail in report.details))
    return Table('details', 'Means over seeds', columns, tuple(lines))


def comparisons_table(report: Report) -> Table | None:
    """Directions that the protocol expects; None if there are none."""
    if not report.comparisons:
        return None
    lines = []
    for item in report.comparisons:
        sign = '<' if report.protocol.lower_is_better else '>'
        first, second = _title(report, item.first), _title(report, item.second)
        name = f'{first} {sign} {second}'
        gain = Cell('', kind='missing')
        if item.gain is not None:
            text, interval = gain_interval(report.protocol, item.gain)
            gain = Cell(text, item.gain.mean, interval)
        differences = item.gain.differences if item.gain is not None else {}
        by_seed = ', '.join(
            difference_text(report.protocol, value) for value in differences.values()
        )
        verdict = Cell(item.verdict, item.verdict)
        cells = (Cell(name, name), gain, Cell(by_seed), verdict)
        lines.append(Line(name, cells))
    columns = ('expected', 'gain', 'by seed', 'verdict')
    caption = 'What the protocol expected, and what was seen'
    return Table(COMPARISONS, caption, columns, tuple(lines), (0, 3))


def seeds_table(report: Report) -> Table:
    """Every score, seed by seed, with training time and memory."""
    lines = []
    for row in report.rows:
        cells = [_method(report, row)]
        for seed in report.seeds:
            if seed in row.scores:
                score = row.scores[seed]
                cells.append(Cell(score_text(report.protocol, score), score))
            elif seed in row.missing:
                cells.append(Cell(NOT_RUN, kind='missing'))
            else:
                cells.append(Cell('—', kind='missing'))
        minutes = None if row.seconds is None else row.seconds / 60
        cells.append(Cell('' if minutes is None else f'{minutes:.1f}', minutes))
        memory = row.peak_memory
        cells.append(Cell('' if memory is None else f'{memory:.0f}', memory))
        lines.append(Line(row.name, tuple(cells)))
    columns = (
        'method',
        *(f'seed {seed}' for seed in report.seeds),
        'training, min',
        'peak, MiB',
    )
    return Table('seeds', f'{report.protocol.unit} by seed', columns, tuple(lines))


def recipes_table(report: Report) -> Table:
    """Config and note of each row."""
    lines = []
    for row in report.rows:
        recipe = report.protocol.recipes[row.name]
        options = ' '.join(f'{key}={value}' for key, value in recipe.options.items())
        cells = (
            _method(report, row),
            Cell(str(recipe.config), str(recipe.config), options),
            Cell(recipe.note, recipe.note),
        )
        lines.append(Line(row.name, cells))
    columns = ('method', 'config', 'note')
    return Table('recipes', 'What was run', columns, tuple(lines), (0, 1, 2))


def gain_cell(report: Report, row: Row) -> Cell:
    """Gain with its interval; no number for the baseline, whose gain is 0."""
    if row.name == report.protocol.baseline:
        return Cell('baseline', 0.0, kind='unsure')
    if row.gain is None:
        return Cell('', kind='missing')
    text, interval = gain_interval(report.protocol, row.gain)
    return Cell(text, row.gain.mean, interval, gain_kind(row))


def gain_kind(row: Row) -> str:
    """'up' or 'down' if the interval does not contain 0, else 'unsure'."""
    return _kind(row.gain)


def _kind(gain: Gain | None) -> str:
    interval = gain.interval if gain is not None else None
    if interval is None or interval[0] <= 0 <= interval[1]:
        return 'unsure'
    return 'up' if interval[0] > 0 else 'down'


def _gain_value(report: Report, row: Row) -> float:
    value = gain_cell(report, row).value
    return value if isinstance(value, float) else float('-inf')


def _title(report: Report, name: str) -> str:
    return report.protocol.recipes[name].title


def _method(report: Report, row: Row) -> Cell:
    title = _title(report, row.name)
    return Cell(title, title.lower(), '' if title.lower() == row.name else row.name)


def _start(report: Report, row: Row) -> Cell:
    if row.name == report.protocol.baseline:
        return Cell('baseline', 'baseline', kind='unsure')
    text = _STARTS.get(row.start, '')
    return Cell(text, text or None, kind='alarm' if row.start == 'other' else '')


def _seeds(row: Row) -> Cell:
    finished = [seed for seed in row.planned if seed in row.scores]
    text = ', '.join(map(str, finished or row.planned))
    small, kind = '', '' if finished else 'missing'
    if len(finished) == 1:
        small, kind = '(one seed)', 'unsure'
    if finished and row.missing:
        small = f'({len(finished)} of {len(row.planned)} run)'
    return Cell(text, float(len(finished)), small, kind)


def _score(report: Report, row: Row) -> Cell:
    assert row.summary is not None
    text = score_text(report.protocol, row.summary.mean)
    if row.summary.std is None:
        return Cell(text, row.summary.mean)
    spread = score_text(report.protocol, row.summary.std)
    return Cell(text, row.summary.mean, f'± {spread}')


def _closed(row: Row) -> Cell:
    if row.gap_closed is None:
        return Cell('')
    return Cell(f'{100 * row.gap_closed:.0f} %', row.gap_closed)


def _time(row: Row) -> Cell:
    if row.time_ratio is None:
        return Cell('')
    return Cell(f'{row.time_ratio:.2f}x', row.time_ratio)


def _equal_time(report: Report, row: Row) -> Cell:
    """The student alone at equal time, and how far the row is above it."""
    text, over = equal_time_texts(report, row)
    item = row.equal_time
    if item is None or item.gain is None:
        return Cell(text, kind='missing')
    return Cell(text, item.gain.mean, over, _kind(item.gain))


def _memory(report: Report, row: Row) -> Cell:
    if row.name == report.protocol.baseline:
        return Cell(f'{row.peak_memory:.0f} MiB', 0.0, kind='unsure')
    if row.extra_memory is None:
        return Cell('')
    return Cell(f'{row.extra_memory:+.0f} MiB', row.extra_memory)


def _short(detail: Detail) -> str:
    return detail.metric.removeprefix(_FIDELITY)


_MEANINGS = {'agreement': 'agrees', 'kl': 'KL'}


def _fidelity(detail: Detail, row: Row) -> Cell:
    summary = detail.recipes[row.name]
    return Cell('—') if summary is None else Cell(f'{summary.mean:.3f}', summary.mean)
