"""The drawing of a report, by matplotlib: SVG on its page, PNG beside its tables."""

import io
import re
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from .report import Report

# Of the light; on the page they are variables of the style sheet.
_STYLE = Path(__file__).with_name('page').joinpath('page.css').read_text()
_COLOURS = dict(re.findall(r'--(\w+): light-dark\((#\w+)', _STYLE))
_INK, _QUIET, _PAPER = (_COLOURS[name] for name in ('ink', 'quiet', 'paper'))
_PLACES = [  # of a label around its point
    {'position': (x, y), 'ha': 'left' if x > 0 else 'right', 'va': va}
    for y, va in ((0, 'center_baseline'), (5, 'bottom'), (-5, 'top'))
    for x in (9, -9)
]


def gain_against_cost(report: Report, width: int, height: int) -> Figure:
    """Plot of gain over time, in pixels of a page; points are links to their rows.

    The teacher's lead over the baseline is a dotted line if it is near the gains.
    """
    figure = Figure((width / 72, height / 72), 72, layout='constrained', frameon=False)
    axes = figure.subplots(subplot_kw={'frameon': False})
    axes.margins(0.08)
    axes.axhline(0, color=_QUIET, lw=1)
    axes.plot(1, 0, 's', color=_INK, ms=8)
    for row, cost, gain in report.points:
        colour = _COLOURS[gain.kind]
        inside, kind = (colour, 'dot') if gain.interval else (_PAPER, 'hollow')
        dot: dict[str, Any] = {'c': colour, 'mfc': inside, 'ms': 10, 'mew': 1.75}
        axes.plot(cost, gain.mean, 'o', gid=kind, url=f'#{row.id}', **dot)
        if gain.interval:
            axes.vlines(cost, *gain.interval, colour, lw=2, alpha=0.5, gid='interval')
    if report.lead is not None and 0 < report.lead < 1.5 * axes.dataLim.y1:
        axes.axhline(report.lead, color=_QUIET, ls=':', gid='teacher')
        axes.text(1, report.lead, 'teacher', color=_INK, size=13, va='bottom')
    axes.locator_params('x', nbins=width // 100)
    axes.locator_params('y', nbins=5)
    axes.xaxis.set_major_formatter('{x:g}x')
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:+g}' if value else '0')
    axes.grid(axis='y', color=_COLOURS['rule'])
    axes.tick_params(length=0, pad=8, labelsize=12, labelcolor=_QUIET)
    axes.set_xlabel(f'cost, times {report.time_unit}', loc='right', c=_QUIET, size=12)
    axes.set_title(f'gain, {report.protocol.unit}', loc='left', c=_QUIET, size=12)
    _label(axes, report)
    return figure


def _label(axes: Any, report: Report) -> None:
    """Titles where they cover no point and no other title, the best gain first."""
    axes.figure.draw_without_rendering()  # places the axes
    pixels = axes.transData.transform
    dots = pixels([(1, 0), *((cost, gain.mean) for _, cost, gain in report.points)])
    taken = [Bbox([dot - 6, dot + 6]) for dot in dots]
    intervals = [
        Bbox(pixels([(cost, end) for end in gain.interval])).padded(1)
        for _, cost, gain in report.points
        if gain.interval
    ]
    look = {
        'textcoords': 'offset points',
        'color': _INK,
        'size': 13,
        'in_layout': False,
    }
    for row, cost, gain in sorted(report.points, key=lambda point: -point[2].mean):
        text = axes.annotate(row.recipe.title, (cost, gain.mean), (0, 0), **look)
        # Across an interval only if there is no other place.
        for lines, place in product((intervals, []), _PLACES):
            text.set(**place)
            box = text.get_window_extent().padded(0, -1.5)
            inside = axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1
            if inside and not box.count_overlaps([*taken, *lines]):
                taken.append(box)
                break
        else:
            text.remove()


def svg(report: Report, width: int, height: int, kind: str) -> Markup:
    """:func:`gain_against_cost` as a part of an HTML page; ``kind`` is its class."""
    stream, salt = io.StringIO(), f'{report.page}-{kind}'  # for ids of the page
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': salt}):
        gain_against_cost(report, width, height).savefig(stream, format='svg')
    # Without the head, whose style would be that of the whole page.
    text = ' '.join(stream.getvalue().partition('</defs>')[2].split())
    text = re.sub(r'<g id="([\w.]+?)(_\d+)?"', r'<g class="\1"', text)
    for row, cost, gain in report.points:
        difference = f'{gain.mean:+.2f} {report.protocol.unit}'
        at = f'{difference} at {cost:.2f} times {report.time_unit}'
        title = f'<title>{escape(f"{row.recipe.title}: {at}")}</title>'
        link = f'href="#{row.id}"'
        for target in (' target="_blank"', ''):  # none by matplotlib before 3.11
            text = text.replace(f'xlink:{link}{target}>', f'{link}>{title}')
    for variable, colour in _COLOURS.items():
        text = text.replace(colour, f'var(--{variable})')
    sizes = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    names = f'class="plot {kind}" role="group" aria-label="Gain against cost"'
    return Markup(f'<svg {names} {sizes}>{text}')


def save_plot(report: Report, path: Path) -> None:
    """Write :func:`gain_against_cost` as PNG, if it has points."""
    if report.points:
        gain_against_cost(report, 860, 460).savefig(path, dpi=144, facecolor=_PAPER)
