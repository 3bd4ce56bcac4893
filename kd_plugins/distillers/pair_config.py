"""From the configuration ``pairs`` to pairs and their adapters, all faults at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..build import build, class_of, collected
from ..checks import check_choice
from ..errors import ConfigError, nearest
from ..losses import DistillationLoss
from ..registry import ADAPTERS, LOSSES
from ..schedules import Schedule, build_schedule
from ..signatures import arguments
from ..views import LayerView, Place, Probe, View, build_view
from .dry_run import dry_run
from .pair import LEVELS_REDUCTIONS, Pair, optional_inputs
from .pair_adapters import build_adapters

_OF_LAYERS = ('levels', 'value')
_OF_LOSSES = ('per_level', 'levels_reduction')
_KEYS = ('layer', *_OF_LAYERS, 'view', 'teacher', 'adapter', 'loss', *_OF_LOSSES)


def build_pairs(
    cfg: Mapping[str, Any], student: nn.Module, teachers: Mapping[str, Any], where: str
) -> tuple[list[Pair], dict[str, nn.ModuleList]]:
    """Pairs, and the adapters of those that have some, by name.

    Args:
        cfg: ``layer`` or ``view``, ``loss``, and ``adapter``, ``levels``, ``value``,
            ``teacher``, ``per_level``, ``levels_reduction`` of each pair; None removes
            a pair.
        student: the student model.
        teachers: by name.
        where: configuration key of ``cfg``, for messages.

    Raises: ConfigError with the faults of all pairs.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(f'{where} must be a dict of pairs by name, got {cfg!r}.')
    pairs: list[Pair] = []
    adapters: dict[str, nn.ModuleList] = {}
    faults: list[str] = []
    owner: dict[str, str] = {}
    # Sorted: the order in which pairs are written changes no result, not even the
    # adapters' initial weights.
    for name in sorted(cfg):
        if cfg[name] is None:
            continue
        try:
            pair, built = _build_pair(
                name, cfg[name], student, teachers, f'{where}.{name}'
            )
            for key in pair.log_keys():
                if owner.setdefault(key, name) != name:
                    raise ConfigError(
                        f"{where}: pairs '{owner[key]}' and '{name}' would both be "
                        f"logged as '{key}'. Rename one."
                    )
        except ConfigError as error:
            faults.append(str(error))
            continue
        pairs.append(pair)
        if built:
            adapters[name] = nn.ModuleList(built)
    if faults:
        raise ConfigError('\n'.join(faults))
    return pairs, adapters


def _build_pair(
    name: str,
    cfg: Any,
    student: nn.Module,
    teachers: Mapping[str, Any],
    where: str,
) -> tuple[Pair, list[nn.Module]]:
    _check_keys(name, cfg, where)
    faults: list[str] = []
    view: View | None = None
    loss: DistillationLoss | None = None
    schedule: Schedule | None = None
    teacher, reduction = '', LEVELS_REDUCTIONS[0]
    built: list[nn.Module] = []
    places: list[Place] = []
    with collected(faults):
        reduction = check_choice(
            f'{where}.levels_reduction',
            cfg.get('levels_reduction', reduction),
            LEVELS_REDUCTIONS,
        )
    with collected(faults):
        view = _build_view(cfg, where)
    with collected(faults):
        teacher = _teacher_of(cfg, teachers, where)
    with collected(faults):
        if view is not None and teacher:
            chosen = teachers[teacher]
            probe = Probe(
                student, chosen.model, teacher, chosen.scale, chosen.class_map
            )
            places = view.bind(probe, where)
    with collected(faults):
        known = _known_of(places, cfg.get('adapter'))
        loss, schedule = _build_loss(cfg['loss'], known, f'{where}.loss')
    with collected(faults):
        same_channels = loss is None or loss.same_channels
        built = build_adapters(cfg.get('adapter'), places, where, same_channels)
    with collected(faults):
        if view is not None and loss is not None and not faults:
            _check_target(view, loss, where)
            if loss.auxiliary_optimizers() and len(places) > 1:
                raise ConfigError(
                    f'{where}: {type(loss).__name__} learns from a single map, and '
                    f'{places[0].name} is one of {len(places)}. Choose one: levels=[0].'
                )
            for place in places:
                own = _student_channels(place, cfg.get('adapter'))
                dry_run(loss, place, own, name, f'{where}.loss')
    if faults or view is None or loss is None:
        raise ConfigError('\n'.join(faults))
    per_level = bool(cfg.get('per_level', False))
    pair = Pair(
        name, where, view, loss, schedule, teacher, per_level, reduction, places
    )
    return pair, built


def _check_keys(name: str, cfg: Any, where: str) -> None:
    if '.' in name or not name or hasattr(nn.ModuleDict, name):
        raise ConfigError(
            f"{where}: '{name}' cannot be a pair's name: it may hold no dots, nor be "
            'the name of a method of ModuleDict. Rename it.'
        )
    if not isinstance(cfg, dict):
        raise ConfigError(
            f"{where} must be a dict with 'layer' or 'view', and 'loss', or None; got "
            f'{cfg!r}.'
        )
    unknown = [key for key in cfg if key not in _KEYS]
    if unknown:
        raise ConfigError(
            f"{where}: no key '{unknown[0]}'. {nearest(unknown[0], _KEYS)}"
        )
    if ('layer' in cfg) == ('view' in cfg):
        raise ConfigError(
            f"{where} needs either layer='neck' or view='roi.logits', got the keys "
            f'{sorted(cfg)}.'
        )
    for key in _OF_LAYERS:
        if key in cfg and 'layer' not in cfg:
            raise ConfigError(f"{where}.{key} goes with 'layer' only.")
    if 'loss' not in cfg:
        raise ConfigError(f"{where} needs a loss, such as loss=dict(type='HintLoss').")


def _build_view(cfg: dict[str, Any], where: str) -> View:
    if 'view' in cfg:
        return build_view(cfg['view'], where)
    try:
        options = {key: cfg[key] for key in _OF_LAYERS if key in cfg}
        return LayerView.of_pair(cfg['layer'], **options)
    except ConfigError as error:
        raise ConfigError(f'{where}.{error}') from error


def _known_of(places: Sequence[Place], adapter: Any) -> dict[str, Any]:
    """What a loss may want to know of what it will compare, by argument."""
    names = ('channels', 'student_channels', 'teacher_channels')
    if not places:  # there is a fault already
        return dict.fromkeys(names, 1)
    own, other = _student_channels(places[0], adapter), places[0].teacher[1]
    known: dict[str, Any] = dict(zip(names, (other, own, other), strict=True))
    levels = [place.context.level for place in places]
    if None not in levels:
        known['levels'] = levels
    return known


def _student_channels(place: Place, adapter: Any) -> int:
    """Those that a loss is given: behind an adapter, the teacher's."""
    if isinstance(adapter, dict):
        kind = class_of(ADAPTERS, adapter.get('type'))
        if kind is not None and 'teacher_channels' in arguments(kind):
            return place.teacher[1]
    return place.student[1]


def _build_loss(
    cfg: Any, known: Mapping[str, Any], where: str
) -> tuple[DistillationLoss, Schedule | None]:
    schedule = None
    if isinstance(cfg, dict):
        if isinstance(cfg.get('loss_weight'), dict):
            schedule = build_schedule(cfg['loss_weight'], f'{where}.loss_weight')
            cfg = {**cfg, 'loss_weight': 1.0}
        kind = class_of(LOSSES, cfg.get('type'))
        if kind is not None:
            asked = arguments(kind)
            told = {name: value for name, value in known.items() if name in asked}
            cfg = {**told, **cfg}
    loss = build(LOSSES, cfg, where)
    if not isinstance(loss, DistillationLoss):
        raise ConfigError(
            f'{where}: {type(loss).__name__} is no DistillationLoss. '
            f'{nearest(type(loss).__name__, LOSSES.module_dict)}'
        )
    if loss.reduction == 'none':
        raise ConfigError(
            f"{where}.reduction must be 'mean' or 'sum' in a pair, got 'none'."
        )
    return loss, schedule


def _teacher_of(cfg: dict[str, Any], teachers: Mapping[str, Any], where: str) -> str:
    name = cfg.get('teacher')
    if name is None and len(teachers) == 1:
        return next(iter(teachers))
    if name is None:
        raise ConfigError(
            f'{where} needs a teacher: one of '
            f'{", ".join(repr(known) for known in teachers)}.'
        )
    if name not in teachers:
        raise ConfigError(
            f"{where}.teacher: no teacher '{name}'. {nearest(str(name), teachers)}"
        )
    return str(name)


def _check_target(view: View, loss: DistillationLoss, where: str) -> None:
    asks = 'target' in optional_inputs(loss) and loss.needs_target
    if not asks or view.has_target:
        return
    source = getattr(view, 'roi_source', 'student')
    raise ConfigError(
        f'{where}.loss: {type(loss).__name__} needs the targets of the host, and this '
        'pair gives none. '
        + (
            "Use a view with targets, such as 'roi.deltas' or 'seg.logits', or of "
            "features 'roi.features' or 'seg.features'. 'head.logits' has labels of "
            'RetinaHead, ATSSHead, GFLHead, FCOSHead and RTMDetHead.'
            if source == 'student'
            else f"Remove roi_source='{source}' from {where}.view."
        )
    )
