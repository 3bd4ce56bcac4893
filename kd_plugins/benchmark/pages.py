"""The report of one or several benchmarks: one HTML page, and one Markdown page.

The HTML page is one file that loads nothing else. Every figure on both pages comes from
the results of the runs. The templates are in the folder ``page``.
"""

import base64
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ..tables import markdown_table
from .machine import in_words
from .page_tables import Cell, Table, Tables
from .plots import Point, gain_against_cost, gain_strip
from .protocol import Picture
from .report import Report

_KINDS = {'.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp'}
_SIZES = {'broad': (860, 460), 'narrow': (340, 400)}


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
        """Name for addresses within the page; two dashes are left for its rows."""
        return re.sub(r'[^\w-]', '-', self.report.protocol.name)

    @property
    def tables(self) -> list[Table]:
        """That of the methods first."""
        return Tables(self.report).all()

    @property
    def command_options(self) -> str:
        """Options for every run, as on a command line."""
        options = ' '.join(f'{key}={value}' for key, value in self.options.items())
        return f' --cfg-options {options}' if options else ''

    @property
    def story(self) -> str:
        """Some sentences before the tables."""
        return ' '.join(self._text('story.txt').split())

    @property
    def facts(self) -> list[list[str]]:
        """What reproduces the benchmark, as pairs of a word and its meaning."""
        return [line.split(': ', 1) for line in self._text('facts.txt').splitlines()]

    def _text(self, template: str) -> str:
        machines = Counter(
            f'{in_words(run["machine"], run["versions"])}; runs side by side: '
            f'{run["jobs"]}'
            for run in self.report.runs
        )
        words = {'report': self.report, 'chapter': self, 'machines': machines}
        return _TEMPLATES.get_template(template).render(words)

    @property
    def points(self) -> dict[str, Point]:
        """What can be compared in drawings, by recipe."""
        return {
            row.name: Point(
                row.recipe.title, f'{self.name}--{row.name}', row.time_ratio, row.gain
            )
            for row in self.report.rows
            if row.gain and row.time_ratio is not None and not row.recipe.own_start
        }

    @property
    def strips(self) -> dict[str, Markup]:
        """Drawings of gains on a common axis, by recipe."""
        gains = [point.gain for point in self.points.values()]
        ends = [0.0, *(end for gain in gains for end in gain.interval or (gain.mean,))]
        limits = min(ends), max(ends)
        points = self.points if any(ends) else {}
        return {name: gain_strip(point, limits) for name, point in points.items()}

    @property
    def plots(self) -> list[Markup]:
        """Gain against cost, for a broad and for a narrow screen."""
        report, points = self.report, list(self.points.values())
        steps, trainings = "the student's step", "the baseline's training time"
        return [
            gain_against_cost(
                points,
                size=size,
                kind=kind,
                baseline=f'{self.name}--{report.protocol.baseline}',
                unit=report.protocol.unit,
                time=steps if report.timed_with else trainings,
                lead=report.lead,
            )
            for kind, size in (_SIZES.items() if points else ())
        ]


def find_pictures(folder: Path) -> list[Picture]:
    """Pictures in a benchmark's folder, except the plot of the benchmark."""
    return [
        Picture(path, path.stem.replace('_', ' '))
        for path in sorted(folder.glob('*'))
        if path.suffix.lower() in _KINDS and path.name != 'benchmark.png'
    ]


def render(template: str, chapters: Sequence[Chapter], out: Path | None = None) -> str:
    """A whole page; drawings and pictures are on the HTML page only.

    Args:
        template: 'page.html' or 'page.md'.
        chapters: at least one, their names all different.
        out: path of the pages, without the endings, for the shown command, if any.
    """
    command = ''
    if out is not None:
        paths = ' '.join(str(chapter.report.protocol.path) for chapter in chapters)
        options = f'--out {os.path.relpath(out)}{chapters[0].command_options}'
        command = f'python tools/benchmark.py --report {paths} {options}'
    return _TEMPLATES.get_template(template).render(chapters=chapters, command=command)


def _in_utc(moment: str) -> str:
    """A moment in UTC: several machines may have different time zones."""
    read = datetime.strptime(moment, '%Y-%m-%dT%H:%M:%S%z')
    return f'{read.astimezone(timezone.utc):%Y-%m-%d %H:%M}'


def _data_url(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'data:image/{_KINDS[path.suffix.lower()]};base64,{content}'


def _markdown(table: Table) -> str:
    def text(cell: Cell) -> str:
        return re.sub(r'\||<(?=\w)', r'\\\g<0>', f'{cell.text} {cell.small}'.strip())

    rows = [[text(cell) for cell in cells] for cells in table.rows.values()]
    return '\n'.join(markdown_table(table.columns, rows))


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name('page')),
    autoescape=select_autoescape(['html']),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(data_url=_data_url, in_utc=_in_utc, markdown=_markdown)
