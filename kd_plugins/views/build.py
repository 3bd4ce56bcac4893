"""Build views from their configuration; ``'roi.logits'`` is shorthand."""

from typing import Any

from ..build import build, class_of
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
    VIEWS.import_from_location()
    views = VIEWS.module_dict
    known = [
        f'{item.prefix}.{value}' for item in views.values() for value in item.values
    ]
    if isinstance(cfg, str):
        prefix, _, value = cfg.partition('.')
        # A subclass inherits the prefix: the view registered first owns it.
        by_prefix = {item.prefix: name for name, item in reversed(views.items())}
        if not prefix or prefix not in by_prefix:
            raise ConfigError(f"{where}.view: no view '{cfg}'. {nearest(cfg, known)}")
        cfg = {'type': by_prefix[prefix], 'value': value}
    if isinstance(cfg, dict):
        view: Any = class_of(VIEWS, cfg.get('type'))
        if view is not None and view.values and cfg.get('value') not in view.values:
            asked = f'{view.prefix}.{cfg.get("value")}'
            raise ConfigError(
                f"{where}.view: no view '{asked}'. {nearest(asked, known)}"
            )
    built: View = build(VIEWS, cfg, f'{where}.view')
    return built
