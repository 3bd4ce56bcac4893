"""The sections of the check, each of which runs in a process of its own."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._common import write_json
from . import costs, precision, row, tests
from .settings import Settings

__all__ = ['SECTIONS', 'Section', 'Settings', 'run_section']

Run = Callable[[Settings, Callable[[dict[str, Any]], None]], dict[str, Any]]


@dataclass(frozen=True)
class Section:
    """One part of the check.

    Attributes:
        title: in the report.
        share: of the whole time that it may take at most; what one leaves is for the
            next.
        run: does it, keeps what it has so far, and returns the whole.
        markdown: lines of the report, of what it kept.
    """

    title: str
    share: float
    run: Run
    markdown: Callable[[dict[str, Any]], list[str]]


SECTIONS = {
    'tests': Section('Tests on the device', 0.15, tests.run, tests.markdown),
    'precision': Section(
        'Losses in mixed precision', 0.3, precision.run, precision.markdown
    ),
    'cost': Section('Cost of a step', 0.25, costs.run, costs.markdown),
    'row': Section('A row of a benchmark', 0.3, row.run, row.markdown),
}


def run_section(name: str, settings: Settings) -> None:
    """Run one section; its file holds what it has found, also after it was ended.

    Args:
        name: of the section.
        settings: of the check.
    """
    if settings.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    file = settings.out / f'{name}.json'

    def keep(content: dict[str, Any]) -> None:
        write_json(file, {'done': False, **content})

    keep({})
    content = SECTIONS[name].run(settings, keep)
    write_json(file, {'done': True, **content})


def section_file(name: str, out: Path) -> Path:
    """Where a section keeps what it has found."""
    return out / f'{name}.json'
