"""Typed errors: each message says what, expected, got, and the key to change."""

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration that cannot work; the message names the key to change."""


class ShapeError(ValueError):
    """Two tensors whose shapes cannot be compared."""


class HostError(ImportError):
    """The OpenMMLab packages are missing, doubled or too old."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, truncated, unsafe or of another model."""


class DistillationError(RuntimeError):
    """A pair that went wrong while training: a dead layer, a NaN in the teacher."""


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
