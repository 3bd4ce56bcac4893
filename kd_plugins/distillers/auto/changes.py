"""Entries that are written beside ``type='auto'``, merged as configs inherit."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConfigError, nearest
from ..pair_config import WHERE
from .table import NAMES

_DELETE = '_delete_'


def read_changes(
    cfg: str | Mapping[str, Any], pairs: Sequence[str], left_out: Sequence[str]
) -> dict[str, Any]:
    """Entries by hand, checked: a change needs an entry that it changes.

    Args:
        cfg: 'auto', or the dict with that ``type``.
        pairs: names of those that were chosen.
        left_out: what was not, and why.

    Raises: ConfigError with the nearest names.
    """
    if isinstance(cfg, str):
        return {}
    changes = {name: pair for name, pair in cfg.items() if name != 'type'}
    for name, pair in changes.items():
        known = name in pairs
        if pair is None:
            # One that other models would have may be removed of any.
            known = known or name.startswith(NAMES)
        elif isinstance(pair, Mapping):
            known = known or 'layer' in pair or 'view' in pair
        else:
            known = True  # what it should be is told when it is built
        if not known:
            why = next((line for line in left_out if line.startswith(name)), '')
            raise ConfigError(
                f"'auto' chose no pair '{name}'. {nearest(name, pairs)} A new one "
                "needs 'layer' or 'view'." + (f' Left out: {why}' if why else ''),
                key=f'{WHERE}.{name}',
            )
    return changes


def merged(base: Any, change: Any) -> Any:
    """A change merged into a part of a configuration, as a config into its base.

    Args:
        base: what stands there.
        change: a dict is merged, unless it has ``_delete_=True``; anything else
            replaces.

    Example:
        >>> merged(dict(a=dict(x=1, y=2)), dict(a=dict(x=3), b=None))
        {'a': {'x': 3, 'y': 2}, 'b': None}
        >>> merged(dict(a=dict(x=1)), dict(a=dict(_delete_=True, z=2)))
        {'a': {'z': 2}}
    """
    if isinstance(change, (list, tuple)):
        return type(change)(merged(None, item) for item in change)
    if not isinstance(change, Mapping):
        return change
    kept = base if isinstance(base, Mapping) and not change.get(_DELETE) else {}
    content = {key: value for key, value in change.items() if key != _DELETE}
    return {
        **kept,
        **{key: merged(kept.get(key), value) for key, value in content.items()},
    }
