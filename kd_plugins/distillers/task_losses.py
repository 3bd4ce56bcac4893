"""Weights on the student's own losses: mu of Chen et al."""

from fnmatch import fnmatchcase
from typing import Any

from ..checks import check_float
from ..errors import ConfigError, located, nearest
from ..schedules import Clock, GradientShare, Schedule, build_schedule

_WHERE = 'model.task_loss_weights'


class TaskLossWeights:
    """Factors on entries of the host's loss dict, by exact key or glob.

    Args:
        cfg: key or glob to a number >= 0 or a schedule dict; None for none.

    Raises: ConfigError for anything else.
    """

    def __init__(self, cfg: dict[str, Any] | None) -> None:
        self._weights: dict[str, float | Schedule] = {}
        if cfg is not None and not isinstance(cfg, dict):
            raise ConfigError(
                f"must be a dict of factors, as {{'*loss_cls': 0.8}}, got {cfg!r}.",
                key=_WHERE,
            )
        for pattern, weight in (cfg or {}).items():
            where = f"{_WHERE}['{pattern}']"
            with located(where):
                factor = (
                    build_schedule(weight)
                    if isinstance(weight, dict)
                    else check_float('the factor', weight)
                )
                if isinstance(factor, GradientShare):
                    raise ConfigError(
                        "a GradientShare keeps a pair at a share of the task's "
                        'gradient, and this is a loss of the task. Give a number.'
                    )
                self._weights[pattern] = factor

    def apply(self, losses: dict[str, Any], clock: Clock | None) -> dict[str, Any]:
        """Weighted copy of the host's losses; other entries stay.

        Raises: ConfigError if a key matches no loss, or two globs the same one.
        """
        if not self._weights:
            return losses
        keys = [key for key in losses if 'loss' in key]
        patterns: dict[str, str] = {}
        for pattern in sorted(self._weights, key=lambda item: item in keys):
            matches = [key for key in keys if fnmatchcase(key, pattern)]
            if not matches:
                raise ConfigError(
                    f"{_WHERE}: '{pattern}' matches none of the student's losses. "
                    f'{nearest(pattern, keys)}'
                )
            for key in matches:
                if key in patterns and pattern not in keys:
                    raise ConfigError(
                        f"{_WHERE}: '{patterns[key]}' and '{pattern}' both match "
                        f"'{key}'. Write '{key}' out, or make one narrower."
                    )
                patterns[key] = pattern  # an exact key comes last, and wins over globs
        weighted = dict(losses)
        for key, pattern in patterns.items():
            factor = self._factor(pattern, clock)
            value = losses[key]
            weighted[key] = (
                [factor * item for item in value]
                if isinstance(value, (list, tuple))
                else factor * value
            )
        return weighted

    def _factor(self, pattern: str, clock: Clock | None) -> float:
        weight = self._weights[pattern]
        if not isinstance(weight, Schedule):
            return weight
        with located(f"{_WHERE}['{pattern}']"):
            if clock is None:
                raise ConfigError(
                    'is a schedule, and the iteration is not known. Set '
                    "runner_type='kd_plugins.DistillRunner', as "
                    'configs/_base_/distill.py does.'
                )
            return weight(clock)
