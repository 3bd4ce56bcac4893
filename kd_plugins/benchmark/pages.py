"""The report of one or several benchmarks: one HTML page, and one Markdown page.

The HTML page is one file that loads nothing else. Every figure on both pages comes from
the results of the runs. The templates are in the folder ``page``.
"""

import base64
import mimetypes
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from ..tables import markdown_table
from .page_tables import Cell, Table, Tables
from .plots import svg
from .report import Report


def render(
    template: str,
    reports: Sequence[Report],
    options: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> str:
    """A whole page; drawings and pictures are on the HTML page only.

    Args:
        template: 'page.html' or 'page.md'.
        reports: at least one, the names of their protocols all different.
        options: of the command line, for every run.
        out: path of the pages, without the endings, for the shown command, if any.
    """
    values = ' '.join(f'{key}={value}' for key, value in (options or {}).items())
    shown = f' --cfg-options {values}' if values else ''
    path = '' if out is None else os.path.relpath(out)
    page = _TEMPLATES.get_template(template)
    return page.render(reports=reports, options=shown, out=path)


def _text(template: str, report: Report, options: str = '') -> str:
    """Some words on a report, which HTML has to escape."""
    return _TEMPLATES.get_template(template).render(report=report, options=options)


def _place(gain: float, report: Report) -> str:
    """Of a gain, in percent, on an axis that holds all of a report and zero."""
    gains = [gain for _, _, gain in report.points]
    ends = [0.0, *(end for each in gains for end in each.interval or (each.mean,))]
    low, high = min(ends), max(ends)
    return f'{(gain - low) / (high - low or 1):.1%}'


def _in_utc(moment: str) -> str:
    """A moment in UTC: several machines may have different time zones."""
    read = datetime.strptime(moment, '%Y-%m-%dT%H:%M:%S%z')
    return f'{read.astimezone(timezone.utc):%Y-%m-%d %H:%M}'


def _data_url(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f'data:{mimetypes.guess_type(path)[0]};base64,{content}'


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
_TEMPLATES.globals.update(text=_text, svg=svg, Tables=Tables)
_TEMPLATES.filters.update(
    data_url=_data_url, in_utc=_in_utc, markdown=_markdown, place=_place
)
