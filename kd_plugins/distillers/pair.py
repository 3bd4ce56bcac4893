"""One pair: view -> adapter -> loss -> weight schedule."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DistillationError, ShapeError, nearest
from ..losses import DistillationLoss
from ..registry import ADAPTERS, LOSSES
from ..schedules import Clock, Schedule, build_schedule
from ..views import Matched, Place, Probe, View, build_view
from ..views.layer import LayerView

_KEYS = ('layer', 'levels', 'view', 'teacher', 'adapter', 'loss', 'per_level')
_OPTIONAL_INPUTS = ('target', 'mask', 'avg_factor', 'context')


class Pair:
    """What is compared, how it is adapted, and the loss; built from one config entry.

    Args:
        name: key in ``pairs``; its loss is logged as ``loss_kd_<name>``.
        cfg: ``layer`` or ``view``; ``loss``; and ``adapter``, ``levels``, ``teacher`` (a
            name, where there are several), ``per_level`` (log each level).
        where: configuration key of the pair, for messages.
    """

    def __init__(self, name: str, cfg: dict[str, Any], where: str) -> None:
        self.name = name
        self.where = where
        self._check_keys(cfg)
        self.teacher_name: str | None = cfg.get('teacher')
        self.per_level = bool(cfg.get('per_level', False))
        self.view = self._build_view(cfg)
        self.adapter_cfg: dict[str, Any] | None = cfg.get('adapter')
        self.places: list[Place] = []
        self.loss, self.schedule = self._build_loss(dict(cfg['loss']))
        self._inputs = [
            key
            for key in inspect.signature(self.loss.forward).parameters
            if key in _OPTIONAL_INPUTS
        ]

    def _check_keys(self, cfg: dict[str, Any]) -> None:
        if '.' in self.name:
            raise ConfigError(f"{self.where}: a pair's name holds no dots.")
        unknown = [key for key in cfg if key not in _KEYS]
        if unknown:
            raise ConfigError(
                f"{self.where}: no key '{unknown[0]}'. {nearest(unknown[0], _KEYS)}"
            )
        if ('layer' in cfg) == ('view' in cfg):
            raise ConfigError(
                f"{self.where} needs either layer='neck' or view='roi.logits', got the "
                f'keys {sorted(cfg)}.'
            )
        if 'levels' in cfg and 'layer' not in cfg:
            raise ConfigError(f"{self.where}.levels goes with 'layer' only.")
        if not isinstance(cfg.get('loss'), dict):
            raise ConfigError(
                f"{self.where}.loss must be a dict such as dict(type='HintLoss'), got "
                f'{cfg.get("loss")!r}.'
            )

    def _build_view(self, cfg: dict[str, Any]) -> View:
        if 'view' in cfg:
            return build_view(cfg['view'], self.where)
        try:
            return LayerView(cfg['layer'], cfg.get('levels'))
        except ConfigError as error:
            raise ConfigError(f'{self.where}.{error}') from error

    def _build_loss(
        self, cfg: dict[str, Any]
    ) -> tuple[DistillationLoss, Schedule | None]:
        weight = cfg.get('loss_weight', 1.0)
        schedule = None
        if isinstance(weight, dict):
            schedule = build_schedule(weight, f'{self.where}.loss.loss_weight')
            cfg['loss_weight'] = 1.0
        loss = build(LOSSES, cfg, f'{self.where}.loss')
        if not isinstance(loss, DistillationLoss):
            raise ConfigError(
                f'{self.where}.loss: {type(loss).__name__} is no DistillationLoss. '
                f'{nearest(type(loss).__name__, LOSSES.module_dict)}'
            )
        return loss, schedule

    def bind(self, probe: Probe) -> list[nn.Module]:
        """Check the models and build this pair's adapters, one a level or stage."""
        self.places = self.view.bind(probe, self.where)
        if self.adapter_cfg is None:
            for place in self.places:
                self._check_without_adapter(place)
            return []
        return [self._build_adapter(place) for place in self.places]

    def _check_without_adapter(self, place: Place) -> None:
        student, teacher = place.student, place.teacher
        message = f'{self.where}: student {_shown(student)} and teacher {_shown(teacher)}'
        if student[1] != teacher[1]:
            kind = 'ConvAdapter' if len(student) == 4 else 'LinearAdapter'
            raise ConfigError(
                f'{message} differ in channels at {place.name}. Add to this pair: '
                f"adapter=dict(type='{kind}', student_channels={student[1]}, "
                f'teacher_channels={teacher[1]}).'
            )
        if place.stretch != (1.0, 1.0):
            raise ConfigError(
                f'{message} differ in size at {place.name}. Add to this pair: '
                "adapter=dict(type='ResizeAdapter')."
            )

    def _build_adapter(self, place: Place) -> nn.Module:
        cfg = dict(self.adapter_cfg or {})
        where = f'{self.where}.adapter'
        name = str(cfg.get('type'))
        cls = ADAPTERS.get(name) if name in ADAPTERS.module_dict else None
        if cls is None:
            raise ConfigError(
                f"{where}.type: no adapter '{name}'. {nearest(name, ADAPTERS.module_dict)}"
            )
        accepted = inspect.signature(cls).parameters
        for key, shape in (
            ('student_channels', place.student),
            ('teacher_channels', place.teacher),
        ):
            if key in accepted and cfg.setdefault(key, shape[1]) != shape[1]:
                raise ConfigError(
                    f'{where}.{key} is {cfg[key]}, but {place.name} has {shape[1]} '
                    f'channels. Set {key}={shape[1]}, or leave it out.'
                )
        adapter = build(ADAPTERS, cfg, where)
        assert isinstance(adapter, nn.Module)
        return adapter

    def set_weight(self, clock: Clock | None) -> None:
        """Let the schedule, where there is one, set the loss's weight."""
        if self.schedule is None:
            return
        if clock is None:
            raise ConfigError(
                f'{self.where}.loss.loss_weight is a schedule, and nobody tells the '
                "iteration. Set runner_type='kd_plugins.DistillRunner', as "
                'configs/_base_/distill.py does.'
            )
        self.loss.loss_weight = self.schedule(clock)

    def compute(
        self,
        matched: Sequence[Matched | None],
        adapters: Sequence[nn.Module],
        avg_factors: Sequence[Tensor | float],
        device: torch.device,
    ) -> list[Tensor]:
        """Weighted loss of each level or stage; 0 for one that did not run.

        Raises: ShapeError naming the pair, where two tensors cannot be compared.
        """
        values = []
        for number, (item, avg_factor) in enumerate(
            zip(matched, avg_factors, strict=True)
        ):
            adapter = adapters[number] if adapters else None
            if item is None:
                values.append(_nothing(adapter, device))
                continue
            student = item.student
            if adapter is not None:
                student = adapter(student, tuple(item.teacher.shape[2:]) or None)
            available = {
                'target': item.target,
                'mask': item.mask,
                'avg_factor': avg_factor,
                'context': replace(item.context, pair=self.name),
            }
            inputs = {key: available[key] for key in self._inputs}
            try:
                values.append(self.loss(student, item.teacher, **inputs))
            except ShapeError as error:
                raise ShapeError(f'{self.where}: {error}') from error
        return values

    def check_alive(
        self, matched: Sequence[Matched | None], values: Sequence[Tensor]
    ) -> None:
        """Refuse a pair whose loss gives the student no gradient.

        Raises: DistillationError naming the pair and the layers.
        """
        for place, item, value in zip(self.places, matched, values, strict=True):
            if item is None:
                continue
            if not item.student.requires_grad:
                raise DistillationError(
                    f'{self.where}: {place.name} of the student carries no gradient: it '
                    'is frozen (frozen_stages, requires_grad), or lies in a block with '
                    'activation checkpointing (with_cp). Choose a layer that trains.'
                )
            gradient = (
                torch.autograd.grad(
                    value, item.student, retain_graph=True, allow_unused=True
                )
                if value.requires_grad
                else (None,)
            )
            if gradient[0] is None:
                raise DistillationError(
                    f'{self.where}: {type(self.loss).__name__} gives no gradient to '
                    f'{place.name} of the student. Change {self.where}.loss or .adapter.'
                )

    def shown_weight(self) -> str:
        """The weight, or its schedule, for the plan."""
        if self.schedule is not None:
            return str(self.schedule)
        return f'{self.loss.loss_weight:g}'


def build(registry: Any, cfg: dict[str, Any], where: str) -> Any:
    """Build from one of our registries; errors name the key and the nearest names."""
    options = dict(cfg)
    name = str(options.pop('type', None)).removeprefix('kd_plugins.')
    registry.import_from_location()
    if name not in registry.module_dict:
        raise ConfigError(
            f"{where}.type: no '{name}'. {nearest(name, registry.module_dict)}"
        )
    cls = registry.module_dict[name]
    accepted = [key for key in inspect.signature(cls).parameters]
    unknown = [key for key in options if key not in accepted]
    if unknown:
        raise ConfigError(
            f"{where}: {name} has no argument '{unknown[0]}'. "
            f'{nearest(unknown[0], accepted)}'
        )
    try:
        return cls(**options)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f'{where}: {error}') from error


def _nothing(adapter: nn.Module | None, device: torch.device) -> Tensor:
    """0, with a graph through the adapter: DDP waits for all its parameters."""
    value = torch.zeros((), device=device)
    for parameter in adapter.parameters() if adapter is not None else ():
        value = value + 0 * parameter.sum()
    return value


def _shown(shape: tuple[int, ...]) -> str:
    return '(' + ', '.join('R' if side < 0 else str(side) for side in shape) + ')'
