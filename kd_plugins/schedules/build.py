"""Build a schedule from a configuration, with errors that name the key."""

import inspect
from typing import Any

from kd_plugins.errors import ConfigError, nearest
from kd_plugins.registry import SCHEDULES
from kd_plugins.schedules._base import Schedule


def build_schedule(cfg: dict[str, Any]) -> Schedule:
    """Build a weight schedule.

    Args:
        cfg: ``dict(type='LinearRamp', start=0, end=1, until=1000)``.

    Raises: ConfigError for an unknown type, unknown or missing keys, and invalid
        values.

    Example:
        >>> cfg = dict(type='LinearRamp', start=0, end=1, until=1000)
        >>> build_schedule(cfg)
        LinearRamp(0 -> 1, iterations 0 to 1000)
    """
    arguments = dict(cfg)
    kind = arguments.pop('type', None)
    if kind is None:
        raise ConfigError(f'a schedule needs a type. {nearest("", _names())}')
    schedule = kind if isinstance(kind, type) else SCHEDULES.get(kind)
    if not (isinstance(schedule, type) and issubclass(schedule, Schedule)):
        raise ConfigError(
            f'there is no schedule {kind!r}. {nearest(str(kind), _names())}',
            key='type',
        )
    _check_arguments(schedule, arguments)
    return schedule(**arguments)


def _names() -> list[str]:
    """Names of the registered schedules."""
    SCHEDULES.import_from_location()
    return sorted(SCHEDULES.module_dict)


def _check_arguments(kind: type[Schedule], arguments: dict[str, Any]) -> None:
    """Refuse unknown and missing keys, by name."""
    parameters = inspect.signature(kind).parameters
    for name in arguments:
        if name not in parameters:
            raise ConfigError(
                f'{kind.__name__} has no such key. {nearest(str(name), parameters)}',
                key=str(name),
            )
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in arguments
    ]
    if missing:
        raise ConfigError(f'{kind.__name__} needs {", ".join(missing)}.')
