"""Metrics and times of a run, from the host's log files."""

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DistillationError, nearest
from ..run_logs import scalar_lines

_NO_METRIC = ('data_time', 'time', 'step')


@dataclass(frozen=True)
class TrainingLog:
    """A training run, over all its attempts.

    Attributes:
        metrics: of the last validation, finite numbers only.
        iterations: number of finished iterations.
        iteration_seconds: median over the logged windows. The median ignores validation
            and saving, which fall into single windows.
        cuda_memory: largest amount allocated, MiB; None on a CPU.
    """

    metrics: dict[str, float]
    iterations: int
    iteration_seconds: float
    cuda_memory: float | None

    @property
    def seconds(self) -> float:
        """Time of training: iterations times the median iteration."""
        return self.iterations * self.iteration_seconds


def read_training(folder: Path, metric: str) -> TrainingLog | None:
    """Read ``<timestamp>/vis_data/scalars.json`` of all attempts in a work directory.

    Args:
        folder: the work directory.
        metric: key that the lines of validations must have.

    Returns: None without a logged iteration or validation.

    Raises: ConfigError if the validations have no such metric, DistillationError if it
        is not a finite number.
    """
    windows: dict[int, dict[str, Any]] = {}
    validations: list[dict[str, Any]] = []
    for line in scalar_lines(folder):
        if 'loss' in line:
            # Of a step repeated after a resume, the last line counts.
            windows[int(line['step'])] = line
        else:
            validations.append(line)
    if not windows or not validations:
        return None
    metrics = _metrics(validations[-1], metric)
    memory = [line['memory'] for line in windows.values() if 'memory' in line]
    return TrainingLog(
        metrics,
        max(windows),
        statistics.median(line['time'] for line in windows.values()),
        float(max(memory)) if memory else None,
    )


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
