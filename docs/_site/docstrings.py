"""Extension of the site: docstrings of this project, as Markdown has them."""

import re
from textwrap import dedent
from typing import Any

import griffe

# "Raises: ShapeError if ..." and its continuation, which is indented.
_LINE = re.compile(r'^(Raises|Returns|Source): (\S.*(?:\n {4}\S.*)*)', re.M)
_ROLE = re.compile(r':(?:func|class|meth|mod|attr|data):`~?(?:[\w.]*\.)?(\w+)`')
_INLINE = re.compile(r':math:(`[^`]+`)')
_QUOTE = re.compile(r'^( +\w+: )>', re.M)  # "x: > 0" is no quotation
_EXAMPLE = re.compile(r'^Example:$', re.M)  # griffe knows the plural
_MATH = re.compile(r'^\.\. math::(.*(?:\n(?: {4}.*)?)*)', re.M)


class AsMarkdown(griffe.Extension):
    """Sections of one line become paragraphs, names of roles code, formulas blocks."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class and function."""
        if obj.docstring is not None:
            text = _MATH.sub(_formula, obj.docstring.value)
            text = _INLINE.sub(r'\1', _QUOTE.sub(r'\1\\>', text))
            text = _ROLE.sub(r'`\1`', text).replace('``', '`')
            text = _EXAMPLE.sub('Examples:', text)
            obj.docstring.value = _LINE.sub(_paragraph, text)


def _paragraph(section: re.Match[str]) -> str:
    name, text = section.groups()
    lines = [line.strip() for line in text.splitlines()]
    return f'\n**{name}**: ' + '\n'.join(lines) + '\n'


def _formula(math: re.Match[str]) -> str:
    """LaTeX, as it stands: showing it set would need a script from elsewhere."""
    first, _, rest = math[1].partition('\n')
    text = f'{first.strip()}\n{dedent(rest)}'.strip()
    return f'~~~latex\n{text}\n~~~\n\n'
