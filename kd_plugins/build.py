"""Build from our registries; errors name the key and the nearest names."""

import inspect
from collections.abc import Callable
from typing import Any

from .checks import check_bool
from .errors import (
    ConfigError,
    LocatedError,
    collected,
    nearest,
    raise_together,
    shown,
)
from .signatures import arguments, flags


def build(registry: Any, cfg: object) -> Any:
    """An object of ``dict(type='...', ...)``.

    Args:
        registry: one of ours.
        cfg: configuration of the object; stays as it is.

    Raises: ConfigError for an unknown type or argument, for a flag that is neither True
        nor False, and for what the class refuses, in whatever way.
    """
    if not isinstance(cfg, dict):
        raise ConfigError(f"must be a dict with 'type', got {cfg!r}.")
    options = dict(cfg)
    kind = options.pop('type', None)
    cls = class_of(registry, kind)
    classes = registry.module_dict
    if kind is None:
        raise ConfigError(f'needs a type. {nearest("", classes)}')
    if cls is None:
        name = _bare(kind)
        raise ConfigError(f"no '{name}'. {nearest(name, classes)}", key='type')
    accepted = arguments(cls)
    unknown = [key for key in options if key not in accepted]
    if unknown:
        name = kind if isinstance(kind, str) else cls.__name__
        raise ConfigError(
            f"{_bare(name)} has no argument '{unknown[0]}'. "
            f'{nearest(unknown[0], accepted) or "It takes none."}'
        )
    for key, optional in flags(cls).items():
        if key in options and not (optional and options[key] is None):
            check_bool(key, options[key])
    try:
        return cls(**options)
    except (LocatedError, ImportError):
        raise
    except Exception as error:  # whatever a wrong value makes a class raise
        written = ', '.join(f'{key}={shown(value)}' for key, value in options.items())
        raise ConfigError(
            f'{cls.__name__}({written}) cannot be built: {type(error).__name__}: '
            f'{error}'
        ) from error


def class_of(registry: Any, kind: object) -> type[Any] | None:
    """The class that a ``type`` means: itself, or by name, with our scope or without.

    Args:
        registry: one of ours.
        kind: ``type`` of a configuration.

    Returns: None if there is no such class.
    """
    registry.import_from_location()
    if inspect.isclass(kind):
        return kind
    cls: type[Any] | None = registry.module_dict.get(_bare(kind))
    return cls


def _bare(kind: object) -> str:
    return str(kind).removeprefix('kd_plugins.')


def build_together(*builders: Callable[[], Any]) -> list[Any]:
    """Results of all builders.

    Raises: ConfigError with the faults of all that failed.
    """
    results: list[Any] = []
    faults: list[ConfigError] = []
    for builder in builders:
        with collected(faults):
            results.append(builder())
    raise_together(faults)
    return results
