"""Adapters of a pair: built for the shapes it compares, or proposed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..build import build, class_of
from ..errors import ConfigError, ShapeError, located
from ..registry import ADAPTERS
from ..signatures import arguments
from ..views import TensorSpec
from ..views.layer.levels import levels_of_equal_size, shown_levels
from .pair import adapt
from .zeros import known_shape

AUTO = 'auto'


class Unadapted(nn.Module):
    """Leaves a level as it is, beside others that ``adapter='auto'`` adapts."""

    def forward(self, feature: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The tensor itself."""
        return feature


def auto_adapter(spec: TensorSpec, same_channels: bool) -> dict[str, Any] | None:
    """The adapter that a level or stage needs, by what differs; None: nothing does.

    Args:
        spec: of the level or stage.
        same_channels: whether the loss needs as many channels of both.
    """
    rows = len(spec.student) == 2
    if same_channels and spec.student[1] != spec.teacher[1]:
        return dict(type='LinearAdapter' if rows else 'ConvAdapter')
    return None if spec.scale_factor == (1.0, 1.0) else dict(type='ResizeAdapter')


def shown_auto_adapter(
    specs: Sequence[TensorSpec], same_channels: bool
) -> dict[str, Any] | str | None:
    """What ``adapter='auto'`` stands for, as a configuration writes it.

    Args:
        specs: levels or stages of the pair.
        same_channels: as of :func:`auto_adapter`.

    Returns: a dict where all levels need the same, None where none needs any; else
        'auto' itself.
    """
    first, *others = (auto_adapter(spec, same_channels) for spec in specs)
    return first if all(other == first for other in others) else AUTO


def build_adapters(
    cfg: dict[str, Any] | str | None,
    specs: Sequence[TensorSpec],
    same_channels: bool = True,
    scale: float = 1.0,
) -> nn.ModuleList | None:
    """One adapter for each level or stage; None without configuration.

    Args:
        cfg: of the adapter, channels may be left out; or 'auto', see
            :func:`auto_adapter`.
        specs: levels or stages of the pair.
        same_channels: whether the loss needs them.
        scale: the teacher's input size over that of the student.

    Raises: ConfigError proposing the entry that makes student and teacher comparable.
    """
    if cfg == AUTO:
        each = [auto_adapter(spec, same_channels) for spec in specs]
        if not any(each):
            return None
        return nn.ModuleList(
            Unadapted() if adapter is None else _build_adapter(adapter, spec)
            for adapter, spec in zip(each, specs, strict=True)
        )
    if cfg is None:
        if scale == 1:  # else the same strides give other sizes
            _check_shifted(specs)
        for spec in specs:
            _check_without_adapter(spec, specs, same_channels)
        return None
    with located('adapter'):
        return nn.ModuleList(_build_adapter(cfg, spec) for spec in specs)


def shifted_levels(specs: Sequence[TensorSpec]) -> list[tuple[int, int]]:
    """Indices of the student's and the teacher's levels that are of one size.

    Args:
        specs: levels of a pair.

    Returns: nothing unless all levels lie apart, and some are as large as another.
    """
    maps = [spec for spec in specs if len(spec.student) == len(spec.teacher) == 4]
    if len(maps) < 2 or any(spec.scale_factor == (1.0, 1.0) for spec in maps):
        return []
    return levels_of_equal_size(
        [spec.student for spec in maps], [spec.teacher for spec in maps]
    )


def _check_shifted(specs: Sequence[TensorSpec]) -> None:
    """Refuse levels that all lie apart, where others of both models do not.

    Raises: ConfigError with the levels of one size: resized, the student's P3 would be
        compared with the teacher's P2, and so on.
    """
    maps = [spec for spec in specs if len(spec.student) == len(spec.teacher) == 4]
    equal = shifted_levels(specs)
    if not equal:
        return
    contexts = [spec.context for spec in maps]
    choice = shown_levels(
        [contexts[one].level or 0 for one, _ in equal],
        [contexts[other].teacher_level or 0 for _, other in equal],
    )
    raise ConfigError(
        'the levels of student and teacher are shifted: at '
        f'{maps[0].name} student {_shown(maps[0].student)} meets teacher '
        f'{_shown(maps[0].teacher)}, and none is as large as its counterpart. Compare '
        f'those of one size: {choice}.'
    )


def _check_without_adapter(
    spec: TensorSpec, specs: Sequence[TensorSpec], same_channels: bool
) -> None:
    student, teacher = spec.student, spec.teacher
    message = f'student {_shown(student)} and teacher {_shown(teacher)}'
    if same_channels and student[1] != teacher[1]:
        raise ConfigError(
            f'{message} differ in channels at {spec.name}. Add to this pair: '
            f'{_proposal(spec, specs)}.'
        )
    if spec.scale_factor != (1.0, 1.0):
        if same_channels and any(
            other.student[1] != other.teacher[1] for other in specs
        ):
            proposal = _proposal(spec, specs)
        else:
            proposal = "adapter=dict(type='ResizeAdapter')"
        raise ConfigError(
            f'{message} differ in size at {spec.name}. Add to this pair: {proposal}.'
        )


def _proposal(spec: TensorSpec, specs: Sequence[TensorSpec]) -> str:
    kind = 'ConvAdapter' if len(spec.student) == 4 else 'LinearAdapter'
    channels = {(other.student[1], other.teacher[1]) for other in specs}
    if len(channels) > 1:  # left out: each level takes its own
        return f"adapter=dict(type='{kind}')"
    return (
        f"adapter=dict(type='{kind}', student_channels={spec.student[1]}, "
        f'teacher_channels={spec.teacher[1]})'
    )


def _build_adapter(cfg: object, spec: TensorSpec) -> nn.Module:
    if not isinstance(cfg, dict):
        raise ConfigError(f"must be a dict with 'type', or 'auto', got {cfg!r}.")
    options = dict(cfg)
    kind = class_of(ADAPTERS, options.get('type'))
    accepted = arguments(kind) if kind is not None else ()
    for name, shape in (
        ('student_channels', spec.student),
        ('teacher_channels', spec.teacher),
    ):
        if name in accepted and options.setdefault(name, shape[1]) != shape[1]:
            raise ConfigError(
                f'is {options[name]}, but {spec.name} has {shape[1]} channels. Set '
                f'{name}={shape[1]}, or leave it out.',
                key=name,
            )
    adapter = build(ADAPTERS, options)
    assert isinstance(adapter, nn.Module)
    with located(f'at {spec.name}'):
        _check_adapter(adapter, spec)
    return adapter


def _check_adapter(adapter: nn.Module, spec: TensorSpec) -> None:
    student, teacher = known_shape(spec.student), known_shape(spec.teacher)
    try:
        with torch.no_grad():
            adapted = tuple(adapt(adapter.eval(), torch.zeros(student), teacher).shape)
    except ShapeError as error:
        raise ConfigError(str(error)) from error
    adapter.train()
    if adapted != teacher:
        raise ConfigError(
            f'{type(adapter).__name__} makes {adapted} of the student, the teacher has '
            f'{teacher}. Use {_proposal(spec, [spec])}.'
        )


def _shown(shape: tuple[int, ...]) -> str:
    return '(' + ', '.join('R' if side < 0 else str(side) for side in shape) + ')'
