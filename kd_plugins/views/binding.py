"""Views of two models, bound; and where one cannot be, what can."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from ..errors import ConfigError
from ..registry import VIEWS
from .base import Side, UnservedError
from .heads import readable_parts
from .layer.view import LayerView
from .probe import DryRunError, Probe, Size
from .view import BoundView, View

BACKBONE = 'backbone'
Result = TypeVar('Result')


def bind(view: View, probe: Probe) -> tuple[BoundView, Size]:
    """Bind a view by the smallest image that both models run on.

    Returns: the bound view, and the image's height and width.
    Raises: ConfigError for what cannot be compared; that of the first size where no
        size runs. Of a model that the view does not know, it names what can be.
    """
    try:
        return bind_as_it_is(view, probe)
    except ConfigError as error:
        unserved = [
            part for part in error.parts or (error,) if isinstance(part, UnservedError)
        ]
        if unserved:
            unserved[-1].propose(comparable(probe))
        raise


def bind_as_it_is(view: View, probe: Probe) -> tuple[BoundView, Size]:
    """As :func:`bind`, but nothing else is tried for an error to propose."""
    return _at_any_size(view.bind, probe)


def maps_of(view: View, probe: Probe) -> dict[Side, list[Tensor]]:
    """Maps of each model, level by level, of which a view may be told to choose.

    Of the smallest image that both models run on; empty for a view that has chosen, or
    has no levels.
    """
    return _at_any_size(view.maps_of, probe)[0]


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


def _at_any_size(run: Callable[[Probe], Result], probe: Probe) -> tuple[Result, Size]:
    first: DryRunError | None = None
    for size in probe.sizes():
        try:
            return run(replace(probe, size=size)), size
        except DryRunError as error:
            first = first or error
    assert first is not None
    raise first


def _layer(name: str) -> Callable[[], View]:
    return lambda: LayerView(name)


def _works(build: Callable[[], View], probe: Probe) -> bool:
    try:
        bind_as_it_is(build(), probe)
    except Exception:  # of arguments that it needs, or whatever a model may raise
        return False
    return True
