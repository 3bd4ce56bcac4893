"""Typed errors: each message says what, expected, got, and the key to change."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

# What the package exports; the functions are for its own modules.
__all__ = [
    'CheckpointError',
    'ConfigError',
    'DistillationError',
    'HostError',
    'LocatedError',
    'ShapeError',
]


class LocatedError(Exception):
    """An error that learns on its way up which configuration key it is about.

    Where it is found it is raised tersely; each boundary that knows a key puts it in
    front, see :func:`located`.

    Args:
        message: what, expected, got, and what to change.
        key: of what was wrong, below the key of the boundary: 'levels', '(student)',
            or 'at neck[0]'.
    """

    def __init__(self, message: str = '', key: str = '') -> None:
        super().__init__(message)
        self.key = key
        self.parts: tuple[LocatedError, ...] = ()

    def __str__(self) -> str:
        if self.parts:
            return '\n'.join(str(part) for part in self.parts)
        message = super().__str__()
        return f'{self.key}: {message}' if self.key else message

    def put_under(self, key: str) -> None:
        """Put a key in front of its own, or of those of its parts."""
        for part in self.parts:
            part.put_under(key)
        if key.startswith('(') and self.key:  # whose it is stands behind what it is
            self.key = f'{self.key} {key}'
            return
        joint = '' if not self.key or self.key[0] == '[' else '.'
        if self.key.startswith(('(', 'at ')):
            joint = ' '
        self.key = f'{key}{joint}{self.key}'


class ConfigError(LocatedError, ValueError):
    """A configuration that cannot work; the message names the key to change."""


class ShapeError(LocatedError, ValueError):
    """Two tensors whose shapes cannot be compared."""


class HostError(ImportError):
    """The OpenMMLab packages are missing, doubled or too old."""


class CheckpointError(LocatedError, ValueError):
    """A checkpoint that is missing, truncated, unsafe or of another model."""


class DistillationError(LocatedError, RuntimeError):
    """A pair that went wrong while training: a dead layer, a NaN in the teacher."""


@contextmanager
def located(key: str) -> Iterator[None]:
    """Put a configuration key in front of what goes wrong within the block.

    Example:
        >>> with located('model.pairs.hint'), located('adapter'):
        ...     raise ConfigError('needs a type.')
        Traceback (most recent call last):
        kd_plugins.errors.ConfigError: model.pairs.hint.adapter: needs a type.
    """
    try:
        yield
    except LocatedError as error:
        error.put_under(key)
        raise


@contextmanager
def collected(faults: list[ConfigError]) -> Iterator[None]:
    """Note a ConfigError among the faults, and go on after the block."""
    try:
        yield
    except ConfigError as error:
        faults.append(error)


def raise_together(faults: Sequence[ConfigError]) -> None:
    """Raise all faults as one error, a line each; nothing without any."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        error = ConfigError()
        error.parts = tuple(faults)
        raise error


def nearest(name: str, choices: Iterable[str], limit: int = 3) -> str:
    """Sentence naming the choices closest to a misspelt name.

    Args:
        name: what was asked for.
        choices: what there is.
        limit: how many to propose.

    Returns: ``"Close: 'a', 'b'."``, or the first choices where none is close, or
        an empty string without any choice.

    Example:
        >>> nearest('neck.fpn_conv', ['neck.fpn_convs', 'backbone'])
        "Close: 'neck.fpn_convs'."
    """
    choices = list(dict.fromkeys(choices))
    close = difflib.get_close_matches(name, choices, n=limit, cutoff=0.5)
    if close:
        return 'Close: ' + ', '.join(f"'{item}'" for item in close) + '.'
    if not choices:
        return ''
    shown = ', '.join(f"'{item}'" for item in choices[:12])
    return f'There are: {shown}{", ..." if len(choices) > 12 else ""}.'


def shown(item: object) -> str:
    """An object of somebody else's as a message may show it: not every one prints.

    Example:
        >>> shown([1, 2]), shown(object())
        ('[1, 2]', 'a object')
    """
    if type(item).__str__ is object.__str__ and type(item).__repr__ is object.__repr__:
        return f'a {type(item).__name__}'  # it would show its address
    try:
        return str(item)
    except Exception as error:  # whatever a foreign ``__repr__`` may raise
        return f'a {type(item).__name__} (that cannot be shown: {error})'
