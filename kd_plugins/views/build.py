"""Build views from their configuration; ``'roi.logits'`` is shorthand."""

from typing import Any

from ..errors import ConfigError, nearest
from ..registry import VIEWS
from .base import View


def build_view(cfg: str | dict[str, Any], where: str) -> View:
    """A view from ``'roi.logits'`` or ``dict(type='RoIView', value='logits', ...)``.

    Args:
        cfg: shorthand or dict.
        where: configuration key of the pair.

    Raises: ConfigError naming the nearest views or values.
    """
    by_prefix = {
        item.prefix: name for name, item in VIEWS.module_dict.items() if item.prefix
    }
    known = [
        f'{item.prefix}.{value}'
        for item in VIEWS.module_dict.values()
        for value in item.values
    ]
    if isinstance(cfg, str):
        prefix, _, value = cfg.partition('.')
        if prefix not in by_prefix:
            raise ConfigError(f"{where}.view: no view '{cfg}'. {nearest(cfg, known)}")
        cfg = {'type': by_prefix[prefix], 'value': value}
    options = dict(cfg)
    name = str(options.pop('type', None))
    view = VIEWS.module_dict.get(name.split('.')[-1])
    if view is None:
        raise ConfigError(
            f"{where}.view.type: no view '{name}'. {nearest(name, VIEWS.module_dict)}"
        )
    value = options.get('value')
    if view.values and value not in view.values:
        asked = f'{view.prefix}.{value}'
        raise ConfigError(f"{where}.view: no view '{asked}'. {nearest(asked, known)}")
    try:
        built: View = view(**options)
    except TypeError as error:
        raise ConfigError(f'{where}.view: {error}.') from error
    except ConfigError as error:
        raise ConfigError(f'{where}.view.{error}') from error
    return built
