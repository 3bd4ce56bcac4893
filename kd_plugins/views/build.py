"""Build views from their configuration; a name alone is shorthand."""

from typing import Any

from ..build import build, class_of
from ..errors import ConfigError, nearest
from ..registry import VIEWS
from .view import View


def build_view(cfg: str | dict[str, Any]) -> View:
    """A view from ``'roi.logits'`` or ``dict(type='roi.logits', stage=1)``.

    Raises: ConfigError naming the nearest views.
    """
    if isinstance(cfg, str):
        cfg = {'type': cfg}
    kind = cfg.get('type') if isinstance(cfg, dict) else None
    if isinstance(kind, str) and class_of(VIEWS, kind) is None:
        raise ConfigError(f"no view '{kind}'. {nearest(kind, VIEWS.module_dict)}")
    built: View = build(VIEWS, cfg)
    return built
