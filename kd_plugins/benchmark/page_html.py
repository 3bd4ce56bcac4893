"""Tables and pictures of a report's page, as HTML."""

import base64
from collections.abc import Mapping
from html import escape

from .page_tables import METHODS, Line, Table
from .protocol import Picture

KINDS = {
    '.png': 'image/png',
    '.jpg': 'image/jpeg',
    '.jpeg': 'image/jpeg',
    '.webp': 'image/webp',
}


def html_figure(picture: Picture) -> str:
    """A picture, embedded in the page, with its text below."""
    kind = KINDS[picture.file.suffix.lower()]
    content = base64.b64encode(picture.file.read_bytes()).decode()
    text = escape(picture.text)
    return (
        f'<figure><img alt="{text}" src="data:{kind};base64,{content}">'
        f'<figcaption>{text}</figcaption></figure>'
    )


def anchor_of(chapter: str, name: str) -> str:
    """Address of a method's row within the page."""
    return f'{chapter}--{name}'  # no table's id has two dashes


def html_table(
    chapter: str,
    table: Table,
    drawings: Mapping[tuple[str, int], str] | None = None,
) -> str:
    """A table with sorting and scrolling.

    Args:
        chapter: name of the chapter, a prefix of the table's id.
        table: its content.
        drawings: in cells, with their text, by row and column.
    """
    name = f'{chapter}-{table.name}'
    heads = ''.join(
        f'<th scope="col"{_class("word" if number in table.texts else "")} aria-sort='
        f'"{"descending" if number == table.sorted_by else "none"}">'
        f'<button type="button">{escape(text)}</button></th>'
        for number, text in enumerate(table.columns)
    )
    lines = []
    for line in table.lines:
        anchor = ''
        if table.name == METHODS:
            anchor = f' id="{escape(anchor_of(chapter, line.name))}"'
        cells = ''.join(
            _cell(table, line, number, (drawings or {}).get((line.name, number), ''))
            for number in range(len(line.cells))
        )
        lines.append(f'<tr{anchor}{_class(line.kind)}>{cells}</tr>')
    body = '\n'.join(lines)
    return (
        '<div class="scroll" role="region" tabindex="0" '
        f'aria-labelledby="{name}-caption">'
        f'<table id="{name}">\n<caption id="{name}-caption">{escape(table.caption)}'
        f'</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        '</table></div>'
    )


def _cell(table: Table, line: Line, number: int, drawing: str) -> str:
    cell = line.cells[number]
    words = number in table.texts
    wide = table.name == 'recipes' and number > 0
    kinds = ' '.join(
        kind for kind in (cell.kind, 'word' * words, 'wide' * wide) if kind
    )
    value = '' if cell.value is None else f' data-value="{escape(str(cell.value))}"'
    text = escape(cell.text)
    if number and text and cell.kind in ('up', 'down', 'unsure'):
        text = f'<b>{text}</b>'
    if cell.small:
        text += f' <small>{escape(cell.small)}</small>'
    name = 'th scope="row"' if number == 0 else 'td'
    if drawing:
        text = f'<div class="drawn">{drawing}<div>{text}</div></div>'
    return f'<{name}{_class(kinds)}{value}>{text}</{name.split()[0]}>'


def _class(kinds: str) -> str:
    return f' class="{kinds}"' if kinds else ''
