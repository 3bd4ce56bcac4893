"""Every drawing of a report, by matplotlib: SVG for its page, PNG beside its tables."""

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from .report import Report
from .statistics import Gain

# On the page they are variables of the style sheet, which has others for the dark.
_COLOURS = {
    **{'up': '#1c6b45', 'down': '#a33b2b', 'unsure': '#7a766d', 'paper': '#fdfcf9'},
    **{'ink': '#1d1c1a', 'quiet': '#69655d', 'rule': '#dcd8ce'},
}
_INK, _QUIET, _RULE = (_COLOURS[name] for name in ('ink', 'quiet', 'rule'))
_STEPS = (1, 2, 5, 10)  # of ticks
_WORDS: dict[str, Any] = {'color': _QUIET, 'fontsize': 12}
_PLACES: Sequence[Mapping[str, Any]] = [  # of a label around its point
    {'position': (x, y), 'ha': 'left' if x > 0 else 'right', 'va': va}
    for x, y, va in (
        *((9, 0, 'center_baseline'), (-9, 0, 'center_baseline'), (7, 5, 'bottom')),
        *((7, -5, 'top'), (-7, 5, 'bottom'), (-7, -5, 'top')),
    )
]


class Point(NamedTuple):
    """A method: id of its row on the page, ratio of times, gain over the baseline."""

    title: str
    anchor: str
    cost: float
    gain: Gain


def gain_strip(point: Point, limits: tuple[float, float]) -> Markup:
    """A gain and its interval, on the common axis of a table's rows."""
    figure, axes = _axes((116, 14), (5, 0, 5, 0))
    axes.set(xlim=limits, ylim=(-1, 1), xticks=(), yticks=())
    axes.axvline(0, color=_QUIET, linewidth=1)
    _draw(axes, point.gain, 0, size=6)
    return _svg(figure, point.anchor, {'class': 'strip', 'aria-hidden': 'true'})


def gain_against_cost(
    points: Sequence[Point],
    *,
    size: tuple[int, int],
    kind: str,
    baseline: str,
    unit: str,
    time: str,
    lead: float | None = None,
) -> Markup:
    """Plot of gain over time; every point is a link to its row.

    Args:
        points: at least one.
        size: width and height, px.
        kind: class of the drawing in the style sheet.
        baseline: id of its row on the page.
        unit: of the gain.
        time: unit of the cost, in words.
        lead: of the teacher over the baseline; a line if it is near the gains.
    """
    figure, axes = _axes(size, (46, 40, 10, 24))
    axes.margins(0.08)
    axes.axhline(0, color=_QUIET, linewidth=1)
    axes.plot(1, 0, 's', color=_INK, markersize=8, url=f'#{baseline}')
    words = {f'#{baseline}': 'baseline'}
    for point in points:
        link, gain = f'#{point.anchor}', point.gain
        _draw(axes, gain, point.cost, size=10, across=False, url=link)
        cost = f'{point.cost:.2f} times {time}{"" if gain.interval else ", one seed"}'
        words[link] = f'{point.title}: {gain.mean:+.2f} {unit} at {cost}'
    if lead is not None and 0 < lead < 1.5 * axes.dataLim.y1:
        axes.axhline(lead, color=_QUIET, linestyle=':', gid='teacher')
        place = {'xycoords': axes.get_yaxis_transform(), 'textcoords': 'offset points'}
        axes.annotate('teacher', (0, lead), (6, 4), color=_INK, fontsize=13, **place)
    axes.xaxis.set_major_locator(MaxNLocator(5 if size[0] > 400 else 3, steps=_STEPS))
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:g}x')
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    axes.yaxis.set_major_formatter(lambda value, _: f'{value:+g}' if value else '0')
    axes.grid(axis='y', color=_RULE, linewidth=1)
    axes.tick_params(length=0, pad=8, labelsize=12, labelcolor=_QUIET)
    axes.set_xlabel(f'cost, times {time}', loc='right', labelpad=2, **_WORDS)
    figure.text(4 / size[0], 1, f'gain, {unit}', va='top', **_WORDS)
    _label(axes, points)
    described = f'Gain in {unit} against cost, times {time}: {len(points)} methods'
    attributes = {'class': f'plot {kind}', 'role': 'group', 'aria-label': described}
    return _svg(figure, f'{baseline}-{kind}', attributes, words)


def draw_gains(report: Report) -> Figure:
    """A matplotlib figure: for each recipe mean, 95 % interval, and a dot a seed.

    Recipes without a gain (the baseline, recipes without a run) are left out; the
    teacher's lead over the baseline is a dotted line.
    """
    gains = [(row.name, row.gain) for row in report.rows if row.gain is not None][::-1]
    figure = Figure(figsize=(7, 1.2 + 0.4 * max(len(gains), 1)), layout='constrained')
    axes = figure.add_subplot()
    for height, (_, gain) in enumerate(gains):
        _draw(axes, gain, height, size=9)
        seeds = list(gain.differences.values())
        axes.plot(seeds, [height] * len(seeds), 'o', color=_INK, markersize=3)
    axes.axvline(0, color=_INK, linewidth=0.8)
    if report.lead is not None:
        axes.axvline(report.lead, color=_QUIET, linestyle=':', label='teacher')
        axes.legend(loc='lower right')
    axes.set_yticks(range(len(gains)), [name for name, _ in gains])
    protocol = report.protocol
    which = ', lower is better' if protocol.lower_is_better else ''
    axes.set_xlabel(f'gain over {protocol.baseline} ({protocol.unit}{which})')
    axes.grid(axis='x', alpha=0.3)
    return figure


def save_plot(report: Report, path: Path) -> None:
    """Write :func:`draw_gains` as PNG."""
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    draw_gains(report).savefig(part, dpi=120, format='png')
    part.replace(path)


def _axes(size: tuple[int, int], frame: Sequence[int]) -> tuple[Figure, Any]:
    """A figure whose points are the page's pixels, and axes without a box in it."""
    (width, height), (left, bottom, right, top) = size, frame
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
    shares = (left / width, bottom / height, 1 - right / width, 1 - top / height)
    return figure, figure.add_axes(Bbox.from_extents(*shares).bounds, frameon=False)


def _draw(
    axes: Any,
    gain: Gain,
    at: float,
    *,
    size: float,
    across: bool = True,
    url: str | None = None,
) -> None:
    """A dot with its interval; hollow, and without one, for a single seed."""
    colour = _COLOURS[gain.kind]
    inside, kind = (colour, 'dot') if gain.interval else (_COLOURS['paper'], 'hollow')
    if gain.interval:
        lines = axes.hlines if across else axes.vlines
        lines(at, *gain.interval, colour, linewidth=2, alpha=0.5, gid='interval')
    place = (gain.mean, at) if across else (at, gain.mean)
    looks = {'markerfacecolor': inside, 'markeredgewidth': 1.75, 'markersize': size}
    axes.plot(*place, 'o', color=colour, clip_on=False, **looks, gid=kind, url=url)


def _label(axes: Any, points: Sequence[Point]) -> None:
    """Titles where they cover no point and no other title, the best gain first."""
    axes.figure.draw_without_rendering()  # places the axes
    pixels = axes.transData.transform
    dots = [pixels((point.cost, point.gain.mean)) for point in points]
    taken = [Bbox([dot - 6, dot + 6]) for dot in (*dots, pixels((1, 0)))]
    intervals = [
        Bbox([pixels((point.cost, end)) for end in point.gain.interval]).padded(1)
        for point in points
        if point.gain.interval
    ]
    for point in sorted(points, key=lambda point: -point.gain.mean):
        at, looks = (point.cost, point.gain.mean), {'color': _INK, 'fontsize': 13}
        text = axes.annotate(
            point.title, at, (0, 0), textcoords='offset points', **looks
        )
        text.set_url(f'#{point.anchor}')
        free = []
        for number, place in enumerate(_PLACES):
            text.set(**place)
            box = text.get_window_extent().padded(0, -1.5)
            inside = all(axes.bbox.contains(*corner) for corner in (box.min, box.max))
            if inside and not box.count_overlaps(taken):
                free.append((box.count_overlaps(intervals), number, box))
        if free:
            _, number, box = min(free, key=lambda each: each[:2])
            text.set(**_PLACES[number])
            taken.append(box)
        else:
            text.remove()


def _svg(
    figure: Figure,
    name: str,
    attributes: Mapping[str, str],
    words: Mapping[str, str] | None = None,
) -> Markup:
    """The figure as a part of an HTML page.

    Args:
        figure: the names of its parts become classes.
        name: unique on the page.
        attributes: of the drawing.
        words: of its links, by address.
    """
    stream = io.StringIO()
    metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
        figure.savefig(stream, format='svg', metadata=metadata)
    root = ElementTree.fromstring(stream.getvalue())
    root.remove(root[0])  # a style, which would be that of the whole page
    rest = dict(words or {})
    for part in list(root.iter()):
        part.tag = part.tag.partition('}')[2]  # HTML knows the tags by themselves
        for key in [key for key in part.attrib if key.endswith('}href')]:
            part.set('href', part.attrib.pop(key))
        if part.tag == 'g' and 'id' in part.attrib:
            part.set('class', re.sub(r'_\d+$', '', part.attrib.pop('id')))
        elif part.tag == 'text':  # in the font of the page
            part.set('style', re.sub('font-family:[^;]*;?', '', part.attrib['style']))
        elif part.tag == 'a':
            del part.attrib['target']
            text = rest.pop(part.attrib['href'], None)
            if text is None:  # a label, beside the point of the same address
                part.attrib.update({'tabindex': '-1', 'aria-hidden': 'true'})
            else:
                part.set('aria-label', text)
                ElementTree.SubElement(part, 'title').text = text
    width, height = root.attrib['viewBox'].split()[2:]
    root.attrib.update(attributes, width=width, height=height)
    svg = ' '.join(ElementTree.tostring(root, encoding='unicode').split())
    for variable, colour in _COLOURS.items():
        svg = svg.replace(colour, f'var(--{variable})')
    return Markup(svg)
