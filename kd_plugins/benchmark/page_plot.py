"""Drawings of a report's page, as SVG; the page's style sheet sets the colours."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_FONT = 13  # of labels, px
_WIDTH_OF_LETTER = 0.56  # average, of the font size
_STRIP = (116, 14)

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Point:
    """Gain and cost of a method.

    Attributes:
        title: its label.
        anchor: id of its row on the page.
        cost: ratio of times, of a step or of a training.
        gain: over the baseline.
        interval: of the gain; None for a single seed.
        kind: 'up', 'down' or 'unsure', see ``gain_kind``.
    """

    title: str
    anchor: str
    cost: float
    gain: float
    interval: tuple[float, float] | None
    kind: str

    @property
    def span(self) -> tuple[float, float]:
        """Both ends of the interval; for a single seed the gain, twice."""
        return self.interval or (self.gain, self.gain)


@dataclass(frozen=True)
class Scale:
    """Values to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def gain_strip(point: Point, low: float, high: float) -> str:
    """A gain and its interval, on the common axis of a table's rows.

    Args:
        point: the method.
        low: left end of the axis, <= 0.
        high: right end, >= 0, above ``low``.
    """
    width, height = _STRIP
    x = Scale(low, high, 5, width - 5)
    middle = height / 2
    parts = [_line('zero', x(0), 0, x(0), height)]
    if point.interval is not None:
        left, right = (x(end) for end in point.interval)
        parts.append(_line('interval', left, middle, right, middle))
    parts.append(_dot(point, x(point.gain), middle, 3.5))
    return (
        f'<svg class="strip {point.kind}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(parts)}</svg>'
    )


def gain_against_cost(
    points: Sequence[Point],
    *,
    size: tuple[int, int],
    kind: str,
    unit: str,
    time: str,
    lead: float | None = None,
) -> str:
    """Plot of gain over time; every point is a link to its row.

    Args:
        points: at least one.
        size: width and height, px.
        kind: class of the drawing in the style sheet.
        unit: of the gain.
        time: unit of the cost, in words.
        lead: of the teacher over the baseline; a line if it is near the gains.
    """
    width, height = size
    x, y = _scales(points, size, lead)
    parts = [*_axes(x, y, unit, time)]
    if lead is not None and y.low <= lead <= y.high:
        parts.append(_line('teacher', x.start, y(lead), x.end, y(lead)))
        parts.append(_text('label', x.start + 6, y(lead) - 6, 'teacher'))
    taken = [
        (x(p.cost) - 6, y(p.gain) - 6, x(p.cost) + 6, y(p.gain) + 6) for p in points
    ]
    baseline = (x(1) - 6, y(0) - 6, x(1) + 6, y(0) + 6)
    taken.append(baseline)
    parts.append(f'<rect class="base" x="{x(1) - 4:.1f}" y="{y(0) - 4:.1f}" ')
    parts[-1] += 'width="8" height="8"><title>baseline</title></rect>'
    parts += [_whisker(point, x, y) for point in points]  # beneath all labels
    for point in sorted(points, key=lambda point: -point.gain):
        position = (x(point.cost), y(point.gain))
        area = (x.start, y.end, x.end, y.start)
        label = _label(point.title, position, taken, area)
        parts.append(_marked(point, position, label, (unit, time)))
    described = f'Gain in {unit} against cost, times {time}: {len(points)} methods'
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="group" aria-label="{escape(described)}">'
        f'{"".join(parts)}</svg>'
    )


def ticks(low: float, high: float, number: int) -> list[float]:
    """Round values between two bounds, approximately ``number``.

    Example:
        >>> ticks(0.9, 2.2, 4)
        [1.0, 1.5, 2.0]
    """
    rough = (high - low) / max(number, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * base for base in (1, 2, 5, 10) if power * base >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _scales(
    points: Sequence[Point], size: tuple[int, int], lead: float | None
) -> tuple[Scale, Scale]:
    width, height = size
    costs = [1.0, *(point.cost for point in points)]
    gains = [0.0, *(end for point in points for end in point.span)]
    low, high = min(gains), max(gains)
    if lead is not None and 0 < lead < 1.5 * high:
        high = max(high, lead)
    margin = 0.08 * (high - low) or 1.0
    wide = 0.06 * (max(costs) - min(costs)) or 0.1
    return (
        Scale(min(costs) - wide, max(costs) + 2 * wide, 46, width - 10),
        Scale(low - margin, high + margin, height - 40, 24),
    )


def _axes(x: Scale, y: Scale, unit: str, time: str) -> Iterator[str]:
    for value in ticks(y.low, y.high, 5):
        kind = 'grid' if value else 'zero'
        yield _line(kind, x.start, y(value), x.end, y(value))
        text = f'{value:+g}' if value else '0'
        yield _text('tick end', x.start - 8, y(value) + 4, text)
    for value in ticks(x.low, x.high, 5 if x.end - x.start > 400 else 3):
        yield _text('tick middle', x(value), y.start + 18, f'{value:g}x')
    yield _text('axis', 4, 13, f'gain, {unit}')
    yield _text('axis end', x.end, y.start + 35, f'cost, times {time}')


def _label(
    text: str, position: tuple[float, float], taken: list[Box], inside: Box
) -> tuple[float, float] | None:
    """Left end and base line of a label in free space; None: there is no space."""
    x, y = position
    width, high = len(text) * _FONT * _WIDTH_OF_LETTER, _FONT
    for left, top in (
        (x + 9, y - high / 2),
        (x - 9 - width, y - high / 2),
        (x + 7, y - high - 5),
        (x + 7, y + 5),
        (x - width - 7, y - high - 5),
        (x - width - 7, y + 5),
    ):
        box = (left, top, left + width, top + high)
        if (
            inside[0] <= box[0]
            and inside[1] <= box[1]
            and box[2] <= inside[2]
            and box[3] <= inside[3]
            and not any(_overlap(box, item) for item in taken)
        ):
            taken.append(box)
            return left, top + high - 3
    return None


def _overlap(first: Box, second: Box) -> bool:
    across = first[0] < second[2] and second[0] < first[2]
    return across and first[1] < second[3] and second[1] < first[3]


def _whisker(point: Point, x: Scale, y: Scale) -> str:
    low, high = (y(end) for end in point.span)
    line = _line('interval', x(point.cost), low, x(point.cost), high)
    return f'<g class="{point.kind}">{line}</g>'


def _marked(
    point: Point,
    position: tuple[float, float],
    label: tuple[float, float] | None,
    words: tuple[str, str],
) -> str:
    unit, time = words
    text = f'{point.title}: {point.gain:+.2f} {unit} at {point.cost:.2f} times {time}'
    if point.interval is None:
        text += ', one seed'
    parts = [f'<title>{escape(text)}</title>']
    parts.append(_dot(point, *position, 5))
    if label is not None:
        parts.append(_text('label', *label, point.title))
    return (
        f'<a href="#{escape(point.anchor)}" class="point {point.kind}" '
        f'aria-label="{escape(text)}">{"".join(parts)}</a>'
    )


def _dot(point: Point, x: float, y: float, radius: float) -> str:
    kind = 'dot' if point.interval is not None else 'dot hollow'
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _line(kind: str, left: float, top: float, right: float, bottom: float) -> str:
    return (
        f'<line class="{kind}" x1="{left:.1f}" y1="{top:.1f}" '
        f'x2="{right:.1f}" y2="{bottom:.1f}"/>'
    )


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
