"""Extension of the site: sections of one line, as this project's docstrings have them."""

import re
from typing import Any

import griffe

# "Raises: ShapeError if ..." and its continuation, which is indented.
_LINE = re.compile(r'^(Raises|Returns|Source): (\S.*(?:\n {4}\S.*)*)', re.M)


class SectionsOfOneLine(griffe.Extension):
    """Makes paragraphs of them: griffe takes the first line for a title."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class and function."""
        if obj.docstring is not None:
            obj.docstring.value = _LINE.sub(_paragraph, obj.docstring.value)


def _paragraph(section: re.Match[str]) -> str:
    name, text = section.groups()
    lines = [line.strip() for line in text.splitlines()]
    return f'\n**{name}**: ' + '\n'.join(lines) + '\n'
