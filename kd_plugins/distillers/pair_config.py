"""From the configuration ``pairs`` to pairs, all faults at once."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import nn

from ..build import build, class_of
from ..checks import check_choice
from ..errors import ConfigError, collected, located, nearest, raise_together
from ..host_types import HostModule
from ..inner_models import inner_model, inner_path
from ..losses import DistillationLoss
from ..registry import ADAPTERS, LOSSES
from ..schedules import Schedule, build_schedule
from ..signatures import arguments
from ..teachers import Teacher
from ..views import BoundView, LayerView, Probe, TensorSpec, View, bind, build_view
from ..views.base import SIDES
from ..views.probe import Size
from .dry_run import dry_run
from .pair import LEVELS_REDUCTIONS, Pair, optional_inputs
from .pair_adapters import build_adapters

_OF_LAYERS = ('levels', 'value')
_OF_LOSSES = ('per_level', 'levels_reduction')
_KEYS = ('layer', *_OF_LAYERS, 'view', 'teacher', 'adapter', 'loss', *_OF_LOSSES)
_WHERE = 'model.pairs'


def build_pairs(
    cfg: Mapping[str, Any], student: HostModule, teachers: Mapping[str, Teacher]
) -> list[Pair]:
    """Pairs by their names.

    Args:
        cfg: ``layer`` or ``view``, ``loss``, and ``adapter``, ``levels``, ``value``,
            ``teacher``, ``per_level``, ``levels_reduction`` of each pair; None removes
            a pair.
        student: the student model.
        teachers: by name.

    Raises: ConfigError with the faults of all pairs.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(f'must be a dict of pairs by name, got {cfg!r}.', key=_WHERE)
    probes = {
        name: Probe(
            inner_model(student),
            teacher.model,
            name,
            teacher.scale,
            teacher.class_map,
            prefixes=(inner_path(student), teacher.inner_path),
        )
        for name, teacher in teachers.items()
    }
    pairs: list[Pair] = []
    faults: list[ConfigError] = []
    for name, probe in probes.items():
        with collected(faults), located(teachers[name].key):
            probe.check_channels()
    raise_together(faults)
    owner: dict[str, str] = {}
    # Sorted: the order in which pairs are written changes no result, not even the
    # adapters' initial weights.
    for name in sorted(cfg):
        if cfg[name] is None:
            continue
        with collected(faults), located(_WHERE):
            with located(name):
                pair = _build_pair(name, cfg[name], probes)
            for key in pair.log_keys():
                if owner.setdefault(key, name) != name:
                    raise ConfigError(
                        f"pairs '{owner[key]}' and '{name}' would both be logged as "
                        f"'{key}'. Rename one."
                    )
            pairs.append(pair)
    raise_together(faults)
    return pairs


def _build_pair(name: str, given: object, probes: Mapping[str, Probe]) -> Pair:
    cfg = _checked(name, given)
    faults: list[ConfigError] = []
    view: View | None = None
    bound: BoundView | None = None
    loss: DistillationLoss | None = None
    schedule: Schedule | None = None
    adapters: nn.ModuleList | None = None
    teacher, reduction = '', LEVELS_REDUCTIONS[0]
    with collected(faults):
        reduction = check_choice(
            'levels_reduction',
            cfg.get('levels_reduction', reduction),
            LEVELS_REDUCTIONS,
        )
    per_level = cfg.get('per_level', False)
    if not isinstance(per_level, bool):
        message = f'must be True or False, got {per_level!r}.'
        faults.append(ConfigError(message, key='per_level'))
    with collected(faults):
        view = _build_view(cfg)
    with collected(faults):
        teacher = _teacher_of(cfg, probes)
    size: Size = (0, 0)
    with collected(faults):
        if view is not None and teacher:
            with located('view') if 'view' in cfg else nullcontext():
                bound, size = bind(view, probes[teacher])
    specs: Sequence[TensorSpec] = () if bound is None else bound.tensors
    with collected(faults), located('loss'):
        loss, schedule = _build_loss(cfg['loss'], _known_of(specs, cfg.get('adapter')))
    with collected(faults):
        same_channels = loss is None or loss.same_channels
        scale = probes[teacher].scale if teacher else 1.0
        adapters = build_adapters(cfg.get('adapter'), specs, same_channels, scale)
    with collected(faults), located('loss'):
        if bound is not None and loss is not None and not faults:
            _check_target(bound, loss, cfg)
            _check_activations(bound, loss)
            if loss.auxiliary_optimizers() and len(specs) > 1:
                raise ConfigError(
                    f'{type(loss).__name__} learns from a single map, and '
                    f'{specs[0].name} is one of {len(specs)}. Choose one: levels=[0].'
                )
            for spec in specs:
                channels = _student_channels(spec, cfg.get('adapter'))
                dry_run(loss, spec, channels, name, size)
    raise_together(faults)
    assert bound is not None and loss is not None
    return Pair(
        name,
        f'{_WHERE}.{name}',
        bound,
        loss,
        adapters,
        schedule,
        teacher,
        per_level,
        reduction,
    )


def _checked(name: str, cfg: object) -> dict[str, Any]:
    """The configuration of a pair, its keys checked."""
    if '.' in name or not name or hasattr(nn.ModuleDict, name):
        raise ConfigError(
            f"'{name}' cannot be a pair's name: it may hold no dots, nor be the name "
            'of a method of ModuleDict. Rename it.'
        )
    if not isinstance(cfg, dict):
        raise ConfigError(
            f"must be a dict with 'layer' or 'view', and 'loss', or None; got {cfg!r}."
        )
    unknown = [key for key in cfg if key not in _KEYS]
    if unknown:
        raise ConfigError(f"no key '{unknown[0]}'. {nearest(unknown[0], _KEYS)}")
    if ('layer' in cfg) == ('view' in cfg):
        raise ConfigError(
            f"needs either layer='neck' or view='roi.logits', got the keys "
            f'{sorted(cfg)}.'
        )
    for key in _OF_LAYERS:
        if key in cfg and 'layer' not in cfg:
            raise ConfigError("goes with 'layer' only.", key=key)
    if 'loss' not in cfg:
        raise ConfigError("needs a loss, such as loss=dict(type='HintLoss').")
    return cfg


def _build_view(cfg: dict[str, Any]) -> View:
    if 'view' in cfg:
        with located('view'):
            return build_view(cfg['view'])
    options = {key: cfg[key] for key in _OF_LAYERS if key in cfg}
    return LayerView(cfg['layer'], **options)


def _known_of(specs: Sequence[TensorSpec], adapter: object) -> dict[str, Any]:
    """What a loss may want to know of what it will compare, by argument."""
    names = ('channels', 'student_channels', 'teacher_channels')
    if not specs:  # there is a fault already
        return dict.fromkeys(names, 1)
    student, teacher = _student_channels(specs[0], adapter), specs[0].teacher[1]
    known: dict[str, Any] = dict(zip(names, (teacher, student, teacher), strict=True))
    levels = [spec.context.level for spec in specs]
    if None not in levels:
        known['levels'] = levels
    return known


def _student_channels(spec: TensorSpec, adapter: object) -> int:
    """Those that a loss is given: behind an adapter, the teacher's."""
    if isinstance(adapter, dict):
        kind = class_of(ADAPTERS, adapter.get('type'))
        if kind is not None and 'teacher_channels' in arguments(kind):
            return spec.teacher[1]
    return spec.student[1]


def _build_loss(
    cfg: object, known: Mapping[str, Any]
) -> tuple[DistillationLoss, Schedule | None]:
    schedule = None
    if isinstance(cfg, dict):
        if isinstance(cfg.get('loss_weight'), dict):
            with located('loss_weight'):
                schedule = build_schedule(cfg['loss_weight'])
            cfg = {**cfg, 'loss_weight': 1.0}
        kind = class_of(LOSSES, cfg.get('type'))
        if kind is not None:
            names = arguments(kind)
            filled = {name: value for name, value in known.items() if name in names}
            cfg = {**filled, **cfg}
    loss = build(LOSSES, cfg)
    if not isinstance(loss, DistillationLoss):
        raise ConfigError(
            f'{type(loss).__name__} is no DistillationLoss. '
            f'{nearest(type(loss).__name__, LOSSES.module_dict)}'
        )
    if loss.reduction == 'none':
        raise ConfigError(
            "must be 'mean' or 'sum' in a pair, got 'none'.", key='reduction'
        )
    return loss, schedule


def _teacher_of(cfg: dict[str, Any], teachers: Mapping[str, Any]) -> str:
    name = cfg.get('teacher')
    if name is None and len(teachers) == 1:
        return next(iter(teachers))
    if name is None:
        raise ConfigError(
            f'needs a teacher: one of {", ".join(repr(known) for known in teachers)}.'
        )
    if name not in teachers:
        raise ConfigError(
            f"no teacher '{name}'. {nearest(str(name), teachers)}", key='teacher'
        )
    return str(name)


def _check_target(
    view: BoundView, loss: DistillationLoss, cfg: Mapping[str, Any]
) -> None:
    requires = 'target' in optional_inputs(loss) and loss.needs_target
    if not requires or view.has_target:
        return
    options = cfg.get('view')
    source = options.get('roi_source') if isinstance(options, Mapping) else None
    raise ConfigError(
        f'{type(loss).__name__} needs the targets of the host, and this pair has none. '
        + (
            "Use a view with targets, such as 'roi.deltas' or 'seg.logits', or of "
            "features 'roi.features' or 'seg.features'. 'head.logits' has labels of "
            'RetinaHead, ATSSHead, GFLHead, FCOSHead and RTMDetHead.'
            if source in (None, 'student')
            else f"Remove roi_source='{source}' from this pair's view."
        )
    )


def _check_activations(view: BoundView, loss: DistillationLoss) -> None:
    """Refuse logits that both models read differently, for a loss that reads them."""
    if view.activations is None or not loss.same_activation:
        return
    student, teacher = (view.activations[side] for side in SIDES)
    if student != teacher:
        raise ConfigError(
            f'the student trains its classes by a {student}, the teacher by a '
            f'{teacher}: {type(loss).__name__} cannot compare their logits. Set the '
            'same use_sigmoid in both decode_head.loss_decode, or use loss='
            "dict(type='CWDLoss'), which compares where on the map a class is seen."
        )
