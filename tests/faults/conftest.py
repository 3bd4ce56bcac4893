"""The count of faults, and what they have in common."""

from collections.abc import Callable

import pytest

from tests.faults import tried


@pytest.fixture
def fault(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """``fault(kind, outcome, number)``: notes that faults were tried, for the summary.

    Called last in a test: what a test that fails has noted is not counted.
    """

    def note(kind: str, outcome: str, number: int = 1) -> None:
        tried.note(record_property, kind, outcome, number)

    return note
