"""Adapters of a pair: built for the shapes it compares, or proposed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..build import build, class_of
from ..errors import ConfigError, ShapeError
from ..registry import ADAPTERS
from ..signatures import arguments
from ..views import Place
from .dry_run import known_shape
from .pair import adapt


def build_adapters(
    cfg: dict[str, Any] | None,
    places: Sequence[Place],
    where: str,
    same_channels: bool = True,
) -> list[nn.Module]:
    """One adapter for each level or stage; none without configuration.

    Args:
        cfg: of the adapter; channels may be left out.
        places: levels or stages of the pair.
        where: configuration key of the pair, for messages.
        same_channels: whether the loss needs them.

    Raises: ConfigError proposing the entry that makes student and teacher comparable.
    """
    if cfg is None:
        for place in places:
            _check_without_adapter(place, places, where, same_channels)
        return []
    return [_build_adapter(cfg, place, f'{where}.adapter') for place in places]


def _check_without_adapter(
    place: Place, places: Sequence[Place], where: str, same_channels: bool
) -> None:
    student, teacher = place.student, place.teacher
    message = f'{where}: student {_shown(student)} and teacher {_shown(teacher)}'
    if same_channels and student[1] != teacher[1]:
        raise ConfigError(
            f'{message} differ in channels at {place.name}. Add to this pair: '
            f'{_proposal(place, places)}.'
        )
    if place.scale_factor != (1.0, 1.0):
        if same_channels and any(
            other.student[1] != other.teacher[1] for other in places
        ):
            proposal = _proposal(place, places)
        else:
            proposal = "adapter=dict(type='ResizeAdapter')"
        raise ConfigError(
            f'{message} differ in size at {place.name}. Add to this pair: {proposal}.'
        )


def _proposal(place: Place, places: Sequence[Place]) -> str:
    kind = 'ConvAdapter' if len(place.student) == 4 else 'LinearAdapter'
    channels = {(other.student[1], other.teacher[1]) for other in places}
    if len(channels) > 1:  # left out: each level takes its own
        return f"adapter=dict(type='{kind}')"
    return (
        f"adapter=dict(type='{kind}', student_channels={place.student[1]}, "
        f'teacher_channels={place.teacher[1]})'
    )


def _build_adapter(cfg: Any, place: Place, where: str) -> nn.Module:
    if not isinstance(cfg, dict):
        raise ConfigError(f"{where} must be a dict with 'type', got {cfg!r}.")
    options = dict(cfg)
    kind = class_of(ADAPTERS, options.get('type'))
    accepted = arguments(kind) if kind is not None else ()
    for key, shape in (
        ('student_channels', place.student),
        ('teacher_channels', place.teacher),
    ):
        if key in accepted and options.setdefault(key, shape[1]) != shape[1]:
            raise ConfigError(
                f'{where}.{key} is {options[key]}, but {place.name} has {shape[1]} '
                f'channels. Set {key}={shape[1]}, or leave it out.'
            )
    adapter = build(ADAPTERS, options, where)
    assert isinstance(adapter, nn.Module)
    _check_adapter(adapter, place, where)
    return adapter


def _check_adapter(adapter: nn.Module, place: Place, where: str) -> None:
    student, teacher = known_shape(place.student), known_shape(place.teacher)
    try:
        with torch.no_grad():
            adapted = tuple(adapt(adapter.eval(), torch.zeros(student), teacher).shape)
    except ShapeError as error:
        raise ConfigError(f'{where} at {place.name}: {error}') from error
    adapter.train()
    if adapted != teacher:
        raise ConfigError(
            f'{where}: {type(adapter).__name__} makes {adapted} of the student at '
            f'{place.name}, the teacher has {teacher}. Use {_proposal(place, [place])}.'
        )


def _shown(shape: tuple[int, ...]) -> str:
    return '(' + ', '.join('R' if side < 0 else str(side) for side in shape) + ')'
