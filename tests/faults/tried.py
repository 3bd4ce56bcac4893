"""How many faults the tests of this folder tried, and what became of them."""

from collections import Counter
from typing import Any

_PROPERTY = 'fault'


def note(record_property: Any, kind: str, outcome: str, number: int = 1) -> None:
    """Note faults in the report of a test.

    Args:
        record_property: pytest's fixture; what it notes reaches the one process that
            prints, whoever ran the test.
        kind: of the fault.
        outcome: what became of each of them.
        number: how many.
    """
    if number:
        record_property(_PROPERTY, (kind, outcome, number))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the tests that passed have noted."""
    tried: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.stats.get('passed', ()):
        for name, value in report.user_properties:
            if name == _PROPERTY and report.when == 'call':
                kind, outcome, number = value
                tried[kind, outcome] += number
    if not tried:
        return
    terminalreporter.section(f'{sum(tried.values())} faults tried')
    width = max(len(kind) for kind, _ in tried)
    for (kind, outcome), number in sorted(tried.items()):
        terminalreporter.write_line(f'{kind:<{width}}  {number:>4}  {outcome}')
