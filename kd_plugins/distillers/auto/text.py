"""Pairs as config text: valid Python, as the configs of this project are written."""

import keyword
from collections.abc import Mapping
from typing import Any

from ...registry import ADAPTERS, LOSSES, SCHEDULES, VIEWS

_WIDTH = 88


def pairs_text(pairs: Mapping[str, Any]) -> str:
    """Lines of ``pairs=dict(...)``, an argument of a model.

    Args:
        pairs: configurations by name.

    Example:
        >>> print(pairs_text(dict(a=dict(layer='neck', loss=dict(type='PKDLoss')))))
        pairs=dict(
            a=dict(layer='neck', loss=dict(type='PKDLoss')))
    """
    if not pairs:
        return 'pairs=dict()'
    entries = [_entry(name, pair, 1, last=0) for name, pair in pairs.items()]
    return 'pairs=dict(\n' + ',\n'.join(entries) + ')'


def _entry(key: str, value: object, depth: int, last: int) -> str:
    """``key=value`` with its indentation, on one line where it fits.

    Args:
        key: name of the argument.
        value: anything of a configuration.
        depth: of the indentation.
        last: closing brackets that may follow on the line.
    """
    indent = '    ' * depth
    line = f'{indent}{key}={_inline(value)}'
    named = isinstance(value, Mapping) and value and _are_names(value)
    if len(line) + last + 2 <= _WIDTH or not named:
        return line
    assert isinstance(value, Mapping)
    entries = [
        _entry(inner, item, depth + 1, last + 1) for inner, item in value.items()
    ]
    return f'{indent}{key}=dict(\n' + ',\n'.join(entries) + ')'


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        items = [(key, _inline(item)) for key, item in value.items()]
        if _are_names(value):
            return f'dict({", ".join(f"{key}={item}" for key, item in items)})'
        return '{' + ', '.join(f'{key!r}: {item}' for key, item in items) + '}'
    if isinstance(value, (list, tuple)):
        inside = ', '.join(_inline(item) for item in value)
        if isinstance(value, list):
            return f'[{inside}]'
        return f'({inside},)' if len(value) == 1 else f'({inside})'
    if isinstance(value, type):  # of a pure-Python config
        return repr(_registered(value))
    return repr(value)


def _are_names(value: Mapping[Any, Any]) -> bool:
    return all(
        isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)
        for key in value
    )


def _registered(cls: type) -> str:
    """The name under which a class is registered, or its path."""
    for registry in (LOSSES, ADAPTERS, SCHEDULES, VIEWS):
        for name, entry in registry.module_dict.items():
            if entry is cls:
                return str(name)
    return f'{cls.__module__}.{cls.__qualname__}'
