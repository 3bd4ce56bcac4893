"""Views of two models, bound; and where one cannot be, what can."""

import itertools
from collections.abc import Callable
from dataclasses import replace

from ..errors import ConfigError
from ..registry import VIEWS
from .base import UnservedError
from .heads import readable_parts
from .layer.view import LayerView
from .probe import DryRunError, Probe, Size
from .view import BoundView, View

BACKBONE = 'backbone'


def bind(view: View, probe: Probe) -> tuple[BoundView, Size]:
    """Bind a view by the smallest image that both models run on.

    Returns: the bound view, and the image's height and width.
    Raises: ConfigError for what cannot be compared; that of the first size where no
        size runs. Of a model that the view does not know, it names what can be.
    """
    try:
        return _bind(view, probe)
    except ConfigError as error:
        unserved = [
            part for part in error.parts or (error,) if isinstance(part, UnservedError)
        ]
        if unserved:
            unserved[-1].propose(comparable(probe))
        raise


def comparable(probe: Probe) -> list[str]:
    """What of two models can be compared, as a pair writes it: each was tried."""
    VIEWS.import_from_location()
    entries = [
        f"view='{name}'"
        for name, kind in VIEWS.module_dict.items()
        if _works(kind, probe)
    ]
    for name in readable_parts(probe.student):
        if name == BACKBONE:
            # Of one that is frozen at first, or gives several copies at last, a stage.
            stages = [stage for stage, _ in probe.student.backbone.named_children()]
            layers = [name, *(f'{name}.{stage}' for stage in reversed(stages))]
        else:
            layers = [] if name.endswith('head') else [name]
        working = (layer for layer in layers if _works(_layer(layer), probe))
        entries += [f"layer='{layer}'" for layer in itertools.islice(working, 1)]
    return entries


def _bind(view: View, probe: Probe) -> tuple[BoundView, Size]:
    first: DryRunError | None = None
    for size in probe.sizes():
        try:
            return view.bind(replace(probe, size=size)), size
        except DryRunError as error:
            first = first or error
    assert first is not None
    raise first


def _layer(name: str) -> Callable[[], View]:
    return lambda: LayerView(name)


def _works(build: Callable[[], View], probe: Probe) -> bool:
    try:
        _bind(build(), probe)
    except Exception:  # of arguments that it needs, or whatever a model may raise
        return False
    return True
