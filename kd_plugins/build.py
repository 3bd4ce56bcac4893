"""Build from our registries; errors name the key and the nearest names."""

import inspect
from collections.abc import Callable
from typing import Any

from .errors import ConfigError, nearest


def build(registry: Any, cfg: Any, where: str) -> Any:
    """An object of ``dict(type='...', ...)``.

    Args:
        registry: one of ours.
        cfg: configuration of the object; stays as it is.
        where: configuration key, for messages.

    Raises: ConfigError for an unknown type or argument, and for what the class refuses.
    """
    if not isinstance(cfg, dict):
        raise ConfigError(f"{where} must be a dict with 'type', got {cfg!r}.")
    registry.import_from_location()
    known = registry.module_dict
    options = dict(cfg)
    kind = options.pop('type', None)
    if kind is None:
        raise ConfigError(f'{where} needs a type. {nearest("", known)}')
    name = str(kind).removeprefix('kd_plugins.')
    cls = kind if inspect.isclass(kind) else known.get(name)
    if cls is None:
        raise ConfigError(f"{where}.type: no '{name}'. {nearest(name, known)}")
    accepted = list(inspect.signature(cls).parameters)
    unknown = [key for key in options if key not in accepted]
    if unknown:
        raise ConfigError(
            f"{where}: {cls.__name__} has no argument '{unknown[0]}'. "
            f'{nearest(unknown[0], accepted)}'
        )
    try:
        return cls(**options)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f'{where}: {error}') from error


def build_together(*builders: Callable[[], Any]) -> list[Any]:
    """Results of all builders.

    Raises: ConfigError with the faults of all that failed.
    """
    results, faults = [], []
    for builder in builders:
        try:
            results.append(builder())
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError('\n'.join(faults))
    return results
