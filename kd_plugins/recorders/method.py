"""Record what a method of one instance is given, and what it returns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def record_method(
    instance: object, name: str, seen: Callable[[tuple[Any, ...], Any], None]
) -> Iterator[None]:
    """Show ``seen`` the arguments and the result of a method of this one instance.

    The class is left alone: the method is replaced in the instance's ``__dict__``, and
    put back afterwards.

    Args:
        instance: whose method is recorded.
        name: the method's name.
        seen: called with the positional arguments and the result after each call.
    """
    method = getattr(instance, name)

    def recorded(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        seen(args, result)
        return result

    attributes = instance.__dict__
    before = attributes.get(name)
    attributes[name] = recorded
    try:
        yield
    finally:
        if before is None:
            del attributes[name]
        else:
            attributes[name] = before
