"""Further metrics of the same runs, such as the IoU of each class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ..errors import nearest
from .statistics import Summary, summarise


@dataclass(frozen=True)
class Detail:
    """One metric of all recipes.

    Attributes:
        metric: its key among the validation's.
        recipes: by name; None for a recipe none of whose runs gave it.
        teacher: its value; None if it has none.
    """

    metric: str
    recipes: Mapping[str, Summary | None]
    teacher: float | None


def find_details(
    patterns: Sequence[str],
    results: Mapping[str, Mapping[int, Mapping[str, Any]]],
    teacher: Mapping[str, Any] | None,
    scale: float,
) -> tuple[tuple[Detail, ...], tuple[str, ...]]:
    """Metrics that the patterns name, in their order, and what they do not find.

    Args:
        patterns: names or globs, as in the protocol.
        results: finished runs, by recipe and seed.
        teacher: result of its evaluation.
        scale: factor on every value.

    Returns: the details, and a sentence for each pattern that no finished run has.
    """
    runs = [result for found in results.values() for result in found.values()]
    if teacher is not None:
        runs.append(teacher)
    known = list(dict.fromkeys(key for run in runs for key in run['metrics']))
    chosen: dict[str, None] = {}
    faults = []
    for pattern in patterns if runs else ():
        matching = [key for key in known if fnmatchcase(key, pattern)]
        chosen.update(dict.fromkeys(matching))
        if not matching:
            faults.append(
                f"details: no finished run gave '{pattern}'. {nearest(pattern, known)}"
            )
    details = tuple(
        Detail(
            key,
            {name: _summary(key, found, scale) for name, found in results.items()},
            _value(key, teacher, scale) if teacher is not None else None,
        )
        for key in chosen
    )
    return details, tuple(faults)


def _summary(
    key: str, found: Mapping[int, Mapping[str, Any]], scale: float
) -> Summary | None:
    values = [_value(key, result, scale) for result in found.values()]
    numbers = [value for value in values if value is not None]
    return summarise(numbers) if numbers else None


def _value(key: str, result: Mapping[str, Any], scale: float) -> float | None:
    value = result['metrics'].get(key)
    return None if value is None else float(value) * scale
