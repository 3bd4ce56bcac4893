"""The report of one or several benchmarks: one HTML page, and one Markdown page.

The HTML page is one file that loads nothing else. Every figure on both pages comes from
the results of the runs.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ..tables import markdown_table
from .page_html import KINDS, anchor_of, html_figure, html_table
from .page_plot import Point, gain_against_cost, gain_strip
from .page_tables import (
    COMPARISONS,
    GAIN,
    Cell,
    Table,
    comparisons_table,
    details_table,
    fidelity_table,
    gain_kind,
    methods_table,
    recipes_table,
    seeds_table,
)
from .page_text import HOW_TO_READ, LEDE, TITLE, facts, story, warnings
from .protocol import Picture
from .report import Report, Row

_PARTS = Path(__file__).with_name('page')
_LARGE, _SMALL = (860, 460), (340, 400)


@dataclass(frozen=True)
class Chapter:
    """A benchmark on the page.

    Attributes:
        report: its figures.
        pictures: after the figures.
        options: of the command line, for every run.
    """

    report: Report
    pictures: Sequence[Picture] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Title of the chapter."""
        return self.report.protocol.title or self.report.protocol.name

    @property
    def name(self) -> str:
        """Name for addresses within the page."""
        return re.sub(r'[^\w-]', '-', self.report.protocol.name)


def find_pictures(folder: Path) -> list[Picture]:
    """Pictures in a benchmark's folder, except the plot of the benchmark."""
    return [
        Picture(path, path.stem.replace('_', ' '))
        for path in sorted(folder.glob('*'))
        if path.suffix.lower() in KINDS and path.name != 'benchmark.png'
    ]


def html_page(chapters: Sequence[Chapter], out: Path) -> str:
    """The whole page.

    Args:
        chapters: at least one, their names all different.
        out: path of the pages, without the endings, for the shown command.
    """
    parts = [f'<header>\n<h1>{TITLE}</h1>\n<p class="lede">{LEDE}</p>']
    titles = {chapter.name: chapter.title for chapter in chapters}
    links = ''.join(
        f'<li><a href="#{name}">{escape(title)}</a></li>'
        for name, title in {**titles, 'how-to-read': 'How to read this'}.items()
    )
    parts.append(f'<nav aria-label="Contents"><ul>{links}</ul></nav></header>\n<main>')
    for chapter in chapters:
        parts += [f'<section id="{chapter.name}">', *_chapter(chapter), '</section>']
    terms = ''.join(
        f'<dt>{key}</dt><dd>{escape(text)}</dd>' for key, text in HOW_TO_READ.items()
    )
    parts.append(
        '<section id="how-to-read">\n<h2>How to read this</h2>\n'
        f'<dl class="terms">{terms}</dl>\n</section>\n</main>'
    )
    command = escape(_report_command(chapters, out))
    parts.append(
        f'<footer><p>This page: <code>{command}</code></p></footer>\n'
        '<p class="told" role="status" aria-live="polite"></p>'
    )
    return Template((_PARTS / 'page.html').read_text(encoding='utf-8')).substitute(
        title=TITLE,
        style=(_PARTS / 'page.css').read_text(encoding='utf-8'),
        script=(_PARTS / 'page.js').read_text(encoding='utf-8'),
        body='\n'.join(parts),
    )


def markdown_page(chapters: Sequence[Chapter], out: Path) -> str:
    """The same figures as Markdown; drawings and pictures are on the other page."""
    lines = [f'# {TITLE}', '', LEDE, '']
    for chapter in chapters:
        report = chapter.report
        lines += [f'## {chapter.title}', '', story(report)]
        lines += ['', *_markdown(methods_table(report)), '']
        lines += [f'- **{warning}**' for warning in warnings(report)]
        lines += [f'- {key}: {text}' for key, text in facts(report, _options(chapter))]
        for table in _other_tables(report):
            lines += ['', f'### {table.caption}', '', *_markdown(table)]
        lines.append('')
    lines += ['## How to read this', '']
    lines += [f'- **{key}**: {text}' for key, text in HOW_TO_READ.items()]
    lines += ['', f'This page: `{_report_command(chapters, out)}`']
    return '\n'.join(lines) + '\n'


def _chapter(chapter: Chapter) -> Iterator[str]:
    report = chapter.report
    points = {row.name: _point(chapter, row) for row in report.rows}
    drawn = [point for point in points.values() if point is not None]
    yield f'<h2>{escape(chapter.title)}</h2>'
    yield f'<p>{escape(story(report))}</p>'
    if doubts := warnings(report):
        items = ''.join(f'<li>{escape(text)}</li>' for text in doubts)
        yield f'<ul class="warnings">{items}</ul>'
    yield html_table(chapter.name, methods_table(report), _strips(drawn, points))
    if drawn:
        yield from _plots(report, drawn)
    for picture in chapter.pictures:
        yield html_figure(picture)
    for table in _other_tables(report):
        shown = html_table(chapter.name, table)
        if table.name != COMPARISONS:
            summary = f'<summary>{escape(table.caption)}</summary>'
            shown = f'<details>{summary}{shown}</details>'
        yield shown
    items = ''.join(
        f'<dt>{key}</dt><dd>{_with_code(key, text)}</dd>'
        for key, text in facts(report, _options(chapter))
    )
    yield f'<h3>How it was measured</h3>\n<dl class="facts">{items}</dl>'


def _other_tables(report: Report) -> list[Table]:
    tables = (
        comparisons_table(report),
        fidelity_table(report),
        details_table(report),
        seeds_table(report),
        recipes_table(report),
    )
    return [table for table in tables if table is not None]


def _options(chapter: Chapter) -> str:
    options = ' '.join(f'{key}={value}' for key, value in chapter.options.items())
    return f' --cfg-options {options}' if options else ''


def _report_command(chapters: Sequence[Chapter], out: Path) -> str:
    paths = ' '.join(str(chapter.report.protocol.path) for chapter in chapters)
    options = f' --out {os.path.relpath(out)}{_options(chapters[0])}'
    return f'python tools/benchmark.py --report {paths}{options}'


def _with_code(key: str, text: str) -> str:
    return f'<code>{escape(text)}</code>' if key == 'Command' else escape(text)


def _point(chapter: Chapter, row: Row) -> Point | None:
    """The method in the drawings; None if it cannot be compared with the others."""
    recipe = chapter.report.protocol.recipes[row.name]
    if row.gain is None or row.time_ratio is None or recipe.own_start:
        return None
    return Point(
        recipe.title,
        anchor_of(chapter.name, row.name),
        row.time_ratio,
        row.gain.mean,
        row.gain.interval,
        gain_kind(row),
    )


def _strips(
    drawn: Sequence[Point], points: Mapping[str, Point | None]
) -> dict[tuple[str, int], str]:
    """Drawings for cells of the table of methods, by row and column."""
    ends = [0.0, *(end for point in drawn for end in point.span)]
    low, high = min(ends), max(ends)
    if high == low:
        return {}
    return {
        (name, GAIN): gain_strip(point, low, high)
        for name, point in points.items()
        if point is not None
    }


def _plots(report: Report, drawn: Sequence[Point]) -> Iterator[str]:
    baseline = report.rows[0].summary
    lead = None
    if report.teacher is not None and baseline is not None:
        lead = report.protocol.gain(report.teacher, baseline.mean)
    yield '<figure>'
    for kind, size in (('broad', _LARGE), ('narrow', _SMALL)):
        yield gain_against_cost(
            drawn,
            size=size,
            kind=kind,
            unit=report.protocol.unit,
            time=(
                "the student's step"
                if report.timed_with
                else "the baseline's training time"
            ),
            lead=lead,
        )
    recipes = [report.protocol.recipes[row.name] for row in report.rows if row.gain]
    hidden = [recipe.title for recipe in recipes if recipe.own_start]
    left_out = f' Not shown, as they start from other weights: {", ".join(hidden)}.'
    yield (
        '<figcaption>Gain against cost. The square is the baseline; the bars are 95 % '
        'intervals; a hollow dot is one seed; grey: the interval holds zero, or there '
        f'is none.{escape(left_out) if hidden else ""}</figcaption>\n</figure>'
    )


def _markdown(table: Table) -> list[str]:
    def text(cell: Cell) -> str:
        return ' '.join(filter(None, (cell.text, cell.small))).replace('|', '\\|')

    rows = [[text(cell) for cell in line.cells] for line in table.lines]
    return markdown_table(table.columns, rows)
