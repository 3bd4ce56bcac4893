"""Tables of text: columns begin where they should, and cells stay as they are."""

from typing import Literal

import pytest

from kd_plugins.tables import markdown_table, table_lines

HEAD = ('recipe', 'mAP')
ROWS = [('hint *', '25.10 ± 1.00'), ('', '007'), ('日本', '0.50')]


def test_cells_stay_as_they_are_written() -> None:
    lines = markdown_table(HEAD, ROWS)
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells[0] == [*HEAD]
    assert cells[2:] == [[*row] for row in ROWS]
    assert set(lines[1]) == {'|', '-'}
    assert len(markdown_table(HEAD, [])) == 2


@pytest.mark.parametrize(('form', 'heads'), [('simple', 2), ('plain', 1)])
def test_columns_begin_at_one_place(
    form: Literal['simple', 'plain'], heads: int
) -> None:
    first, *_, japanese = lines = table_lines(HEAD, ROWS, form)
    assert len(lines) == heads + len(ROWS)
    start = first.index('mAP')
    assert lines[heads].index('25.10') == lines[heads + 1].index('007') == start
    assert japanese.index('0.50') == start - 2  # two letters of double width
    assert [line.rstrip() for line in lines] == lines
