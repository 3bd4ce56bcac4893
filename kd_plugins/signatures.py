"""Arguments of a class, including those that it passes to its parents."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn


def arguments(target: Any) -> list[str]:
    """Names of the arguments of a class or function that a config can set.

    Example:
        >>> class Parent:
        ...     def __init__(self, depth, width=1): ...
        >>> class Child(Parent):
        ...     def __init__(self, *, colour, **kwargs): ...
        >>> arguments(Child)
        ['colour', 'depth', 'width']
    """
    return list(_all_parameters(target))


def flags(target: Any) -> dict[str, bool]:
    """Arguments that are True or False, and whether they may be None as well.

    They are typed so, or untyped with such a default.

    Example:
        >>> def resize(size: int, align: bool = False, crop: bool | None = None): ...
        >>> flags(resize)
        {'align': False, 'crop': True}
    """
    kinds = {bool: False, 'bool': False, bool | None: True, 'bool | None': True}
    found = {}
    for name, item in _all_parameters(target).items():
        if item.annotation in kinds:
            found[name] = kinds[item.annotation]
        elif item.annotation is item.empty and isinstance(item.default, bool):
            found[name] = False
    return found


def _all_parameters(target: Any) -> dict[str, inspect.Parameter]:
    if not inspect.isclass(target):
        return _parameters(target)[0]
    found: dict[str, inspect.Parameter] = {}
    for cls in inspect.getmro(target):
        init = vars(cls).get('__init__')
        if cls in (nn.Module, object):
            break
        if init is not None:
            parameters, has_kwargs = _parameters(init)
            found |= {key: parameters[key] for key in parameters if key not in found}
            if not has_kwargs:
                break
    return found


def _parameters(
    function: Callable[..., Any],
) -> tuple[dict[str, inspect.Parameter], bool]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a class written in C
        return {}, False
    named = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    return (
        {
            item.name: item
            for item in parameters
            if item.kind in named and item.name != 'self'
        },
        any(item.kind is inspect.Parameter.VAR_KEYWORD for item in parameters),
    )
