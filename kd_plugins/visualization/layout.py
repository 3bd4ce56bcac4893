"""Panels in a grid, with a header row and a legend, in a PNG of limited size."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..errors import ConfigError
from .drawing import font

_GAP, _HEADER, _LEGEND = 6, 26, 28
_COLOURS = (256, 128, 64, 32)
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


def save_png(image: Image.Image, path: Path, limit: int) -> int:
    """Write a PNG, with fewer colours if it is too large.

    Args:
        image: RGB.
        path: of the file.
        limit: of its size, in bytes.

    Returns: its size.
    Raises: ConfigError if it is too large with 32 colours.
    """
    content = b''
    for colours in (None, *_COLOURS):
        reduced = (
            image
            if colours is None
            else image.quantize(colours, dither=Image.Dither.NONE)
        )
        buffer = io.BytesIO()
        reduced.save(buffer, 'PNG', optimize=True)
        content = buffer.getvalue()
        if len(content) <= limit:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            return len(content)
    raise ConfigError(
        f'{path} would have {len(content)} bytes, more than {limit}. Show fewer images '
        'with --number.'
    )
