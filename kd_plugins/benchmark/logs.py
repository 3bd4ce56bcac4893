"""Metrics and times of a run, from the host's log files."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError, DistillationError, nearest
from ..run_logs import scalar_lines

_NO_METRIC = ('data_time', 'time', 'step')


@dataclass(frozen=True)
class TrainingLog:
    """A training run, over all its attempts, and over all its stages.

    Attributes:
        metrics: of the last validation, finite numbers only.
        iterations: number of finished iterations.
        seconds: time of training: of each stage the iterations times the median
            iteration, over the logged windows. The median ignores validation and
            saving, which fall into single windows.
        cuda_memory: largest amount allocated, MiB; None on a CPU.
        stages: iterations and seconds of each stage, by name; empty for one training.
    """

    metrics: dict[str, float]
    iterations: int
    seconds: float
    cuda_memory: float | None
    stages: Mapping[str, Mapping[str, float]]


def read_training(
    folder: Path, metric: str, stages: Sequence[str] = ()
) -> TrainingLog | None:
    """Read ``<timestamp>/vis_data/scalars.json`` of all attempts in a work directory.

    Args:
        folder: the work directory.
        metric: key that the lines of validations must have, with stages those of the
            last one.
        stages: names of the stages, in order, each in its folder below.

    Returns: None without a logged iteration of each stage, or a validation of the last.

    Raises: ConfigError if the validations have no such metric, DistillationError if it
        is not a finite number.
    """
    logs = [_read(folder / stage) for stage in stages or ('',)]
    if any(not log.windows for log in logs) or not logs[-1].validations:
        return None
    memory = [value for log in logs for value in log.memory]
    return TrainingLog(
        _metrics(logs[-1].validations[-1], metric),
        sum(log.iterations for log in logs),
        sum(log.seconds for log in logs),
        float(max(memory)) if memory else None,
        {
            stage: {'iterations': log.iterations, 'seconds': log.seconds}
            for stage, log in zip(stages, logs, strict=False)
        },
    )


class _Lines(NamedTuple):
    """Lines of one work directory: of training by their step, and of validations."""

    windows: dict[int, dict[str, Any]]
    validations: list[dict[str, Any]]

    @property
    def iterations(self) -> int:
        return max(self.windows)

    @property
    def seconds(self) -> float:
        times = (line['time'] for line in self.windows.values())
        return self.iterations * float(statistics.median(times))

    @property
    def memory(self) -> list[float]:
        lines = self.windows.values()
        return [line['memory'] for line in lines if 'memory' in line]


def _read(folder: Path) -> _Lines:
    lines = _Lines({}, [])
    for line in scalar_lines(folder):
        if 'loss' in line:
            # Of a step repeated after a resume, the last line counts.
            lines.windows[int(line['step'])] = line
        else:
            lines.validations.append(line)
    return lines


def read_validation(folder: Path, metric: str) -> dict[str, float] | None:
    """Metrics of the last validation in a work directory; None if there is none.

    Raises: as of :func:`read_training`.
    """
    validations = [line for line in scalar_lines(folder) if 'loss' not in line]
    return _metrics(validations[-1], metric) if validations else None


def read_test(folder: Path, metric: str) -> dict[str, float] | None:
    """Metrics that the host's test wrote to ``<timestamp>/<timestamp>.json``.

    Raises: as of :func:`read_training`.
    """
    files = sorted(
        path for path in folder.glob('*/*.json') if path.stem == path.parent.name
    )
    if not files:
        return None
    return _metrics(json.loads(files[-1].read_text()), metric)


def _metrics(line: dict[str, Any], wanted: str) -> dict[str, float]:
    """Finite numbers of a validation, which must include the wanted metric."""
    numbers = {
        key: float(value)
        for key, value in line.items()
        if key not in _NO_METRIC and isinstance(value, (int, float))
    }
    if wanted not in numbers:
        raise ConfigError(
            f"metric: the validation gave no '{wanted}'. {nearest(wanted, numbers)}"
        )
    if not math.isfinite(numbers[wanted]):
        raise DistillationError(
            f"metric: '{wanted}' of the validation is {numbers[wanted]}, expected a "
            'finite number. The training may have diverged: see its log.'
        )
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
