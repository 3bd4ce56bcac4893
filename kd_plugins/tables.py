"""Tables of text with aligned columns."""

from collections.abc import Sequence
from typing import Literal

from tabulate import tabulate


def table_lines(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    form: Literal['simple', 'plain', 'github'] = 'simple',
) -> list[str]:
    r"""Lines of a table.

    Args:
        head: names of the columns.
        rows: a cell for each of them.
        form: a rule below the head, none, or Markdown.

    Example:
        >>> print(*table_lines(['pair', 'weight'], [['hint', '0.50']]), sep='\n')
        pair    weight
        ------  --------
        hint    0.50
    """
    text = tabulate(rows, head, form, disable_numparse=True)
    return [line.rstrip() for line in text.splitlines()]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown, as of :func:`table_lines`."""
    return table_lines(head, rows, 'github')
