"""Levels of two models that belong together, found by their size."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ..errors import ConfigError
from ..views import BoundView, LayerView, Probe, View, build_view
from ..views.binding import maps_of
from ..views.layer.levels import levels_of_equal_size
from ..views.probe import Size
from .pair_adapters import shifted_levels

Bind = Callable[[View, Probe], tuple[BoundView, Size]]


def view_of(cfg: dict[str, Any]) -> View:
    """The view of a pair's configuration, which has 'layer' or 'view'."""
    if 'view' in cfg:
        return build_view(cfg['view'])
    options = {key: cfg[key] for key in ('levels', 'value') if key in cfg}
    return LayerView(cfg['layer'], **options)


def bind_by_size(
    cfg: dict[str, Any], view: View, probe: Probe, bind: Bind
) -> tuple[dict[str, Any], BoundView, Size]:
    """Bind a view; where the levels of both models do not fit, those of one size.

    They do not fit where the models have not as many, where each lies apart from its
    counterpart (an FPN that begins at another stride), or where one does not train.

    Args:
        cfg: of the pair.
        view: of that configuration.
        probe: of both models.
        bind: binds a view.

    Returns: the configuration, with its levels, the bound view, and the image's size.
    Raises: as ``bind``, where no choice of levels helps.
    """
    try:
        bound, size = bind(view, probe)
        if probe.scale != 1 or not shifted_levels(bound.tensors):
            return cfg, bound, size
    except ConfigError as error:
        if error.key != 'levels':
            raise
        levels = _levels(view, probe)
        if levels is None:
            raise
    else:
        levels = _levels(view, probe)
        if levels is None:
            return cfg, bound, size
    cfg = _with_levels(cfg, levels)
    return cfg, *bind(view_of(cfg), probe)


def _levels(view: View, probe: Probe) -> Any:
    """Levels as a pair writes them; None: there is nothing to choose."""
    maps = maps_of(view, probe)
    if not maps:
        return None
    student, teacher = maps['student'], maps['teacher']
    trained = [item.requires_grad for item in student]
    dead = {
        number for number, trains in enumerate(trained) if any(trained) and not trains
    }
    pairs = [
        numbers
        for numbers in _of_one_size(student, teacher, probe.scale)
        if numbers[0] not in dead
    ]
    if not pairs:
        return None
    of_student, of_teacher = (list(numbers) for numbers in zip(*pairs, strict=True))
    if of_student == of_teacher:
        return of_student
    return dict(student=of_student, teacher=of_teacher)


def _of_one_size(
    student: Sequence[Tensor], teacher: Sequence[Tensor], scale: float
) -> list[tuple[int, int]]:
    """Numbers of levels, as many of both; those of the same number if none is."""
    sizes = [tuple(item.shape[-2:]) for item in student]
    teacher_sizes = [
        tuple(round(side / scale) for side in item.shape[-2:]) for item in teacher
    ]
    equal = levels_of_equal_size(sizes, teacher_sizes)
    if len(sizes) != len(teacher_sizes):
        return equal
    in_place = list(zip(range(len(sizes)), range(len(sizes)), strict=True))
    fits = any(sizes[number] == teacher_sizes[number] for number in range(len(sizes)))
    return in_place if fits or not equal else equal


def _with_levels(cfg: dict[str, Any], levels: Any) -> dict[str, Any]:
    if 'layer' in cfg:
        return {**cfg, 'levels': levels}
    view = cfg['view']
    view = dict(view) if isinstance(view, dict) else dict(type=view)
    return {**cfg, 'view': {**view, 'levels': levels}}
