"""Panels in a grid, with a header row and a legend."""

from collections.abc import Iterable, Mapping, Sequence

from PIL import Image, ImageDraw

from .drawing import font

_GAP, _HEADER, _LEGEND = 6, 26, 28
Colour = tuple[int, int, int]


def arrange(
    rows: Sequence[Sequence[Image.Image]],
    headers: Sequence[str],
    legend: Mapping[str, Colour],
) -> Image.Image:
    """A grid of panels.

    Args:
        rows: panels, one for each header.
        headers: above the columns.
        legend: below the grid, in one or more lines: text to colour; may be empty.
    """
    width = max(panel.width for panels in rows for panel in panels)
    height = max(panel.height for panels in rows for panel in panels)
    across = len(headers) * (width + _GAP) + _GAP
    lines = _lines(legend, across)
    canvas = Image.new(
        'RGB',
        (
            across,
            _HEADER + len(rows) * (height + _GAP) + len(lines) * _LEGEND,
        ),
        'white',
    )
    draw = ImageDraw.Draw(canvas)
    for column, header in enumerate(headers):
        middle = _GAP + column * (width + _GAP) + width // 2
        draw.text(
            (middle, _HEADER // 2),
            header,
            font=font(15, True),
            fill='black',
            anchor='mm',
        )
        for row, panels in enumerate(rows):
            corner = (middle - width // 2, _HEADER + row * (height + _GAP))
            canvas.paste(panels[column], corner)
    middle = canvas.height - len(lines) * _LEGEND + _LEGEND // 2
    for line in lines:
        for left, text in line:
            square = [left, middle - 6, left + 12, middle + 6]
            draw.rectangle(square, fill=legend[text])
            corner = (left + 18, middle)
            draw.text(corner, text, font=font(13), fill='black', anchor='lm')
        middle += _LEGEND
    return canvas


def _lines(texts: Iterable[str], across: int) -> list[list[tuple[int, str]]]:
    """Lines of a legend: its texts, with their left edges."""
    lines: list[list[tuple[int, str]]] = [[]]
    left = _GAP
    for text in texts:
        width = 36 + int(font(13).getlength(text))
        if lines[-1] and left + width > across:
            lines.append([])
            left = _GAP
        lines[-1].append((left, text))
        left += width
    return [line for line in lines if line]
