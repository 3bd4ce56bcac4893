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
        metric: key of the metric in the validation.
        recipes: values by name; None for a recipe whose runs have no value.
        teacher: value of the teacher; None if it has none.
    """

    metric: str
    recipes: Mapping[str, Summary | None]
    teacher: float | None

    @property
    def title(self) -> str:
        """Name in a table: without the folder, and in words, if it is of fidelity."""
        folder, _, name = self.metric.partition('fidelity/')
        return folder or name.replace('_', ' ')


def find_details(
    patterns: Sequence[str],
    results: Mapping[str, Mapping[int, Mapping[str, Any]]],
    teacher: Mapping[str, Any] | None,
    scale: float,
) -> tuple[tuple[Detail, ...], tuple[str, ...]]:
    """Metrics that match the patterns, in their order, and patterns without match.

    Args:
        patterns: names or globs, as in the protocol.
        results: finished runs, by recipe and seed.
        teacher: result of the teacher's evaluation.
        scale: factor on every value.

    Returns: the details, and a sentence for each pattern without match.
    """
    runs = [result for seeds in results.values() for result in seeds.values()]
    if teacher is not None:
        runs.append(teacher)
    metrics = list(dict.fromkeys(key for run in runs for key in run['metrics']))
    keys: dict[str, None] = {}
    faults = []
    for pattern in patterns if runs else ():
        matches = [key for key in metrics if fnmatchcase(key, pattern)]
        keys.update(dict.fromkeys(matches))
        if not matches:
            faults.append(
                f"details: no finished run gave '{pattern}'. "
                f'{nearest(pattern, metrics)}'
            )
    details = tuple(
        Detail(
            key,
            {name: _summary(key, seeds, scale) for name, seeds in results.items()},
            _value(key, teacher, scale) if teacher is not None else None,
        )
        for key in keys
    )
    return details, tuple(faults)


def _summary(
    key: str, results: Mapping[int, Mapping[str, Any]], scale: float
) -> Summary | None:
    values = [_value(key, result, scale) for result in results.values()]
    numbers = [value for value in values if value is not None]
    return summarise(numbers) if numbers else None


def _value(key: str, result: Mapping[str, Any], scale: float) -> float | None:
    value = result['metrics'].get(key)
    return None if value is None else float(value) * scale
