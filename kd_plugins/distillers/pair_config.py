"""From the configuration ``pairs`` to pairs, all faults at once."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import nn

from ..checks import check_choice
from ..errors import ConfigError, collected, located, nearest, raise_together
from ..host_types import HostModule
from ..inner_models import inner_model, inner_path
from ..losses import DistillationLoss
from ..schedules import Schedule
from ..target_transforms import TargetTransform
from ..teachers import Teacher
from ..views import BoundView, Probe, TensorSpec, View, bind
from ..views.probe import Size
from .dry_run import dry_run
from .pair import LEVELS_REDUCTIONS, NO_TEACHER, Pair
from .pair_adapters import AUTO, build_adapters, shown_auto_adapter
from .pair_levels import Bind, bind_by_size, view_of
from .pair_loss import (
    build_loss,
    build_target_transform,
    check_activations,
    check_alone,
    check_target,
    features_of,
    known_of,
    loss_reads_teacher,
    needs_same_channels,
    refuse_missing_teacher,
    student_channels,
)

_OF_LAYERS = ('levels', 'value')
_OF_LOSSES = ('per_level', 'levels_reduction')
_KEYS = (
    *('layer', *_OF_LAYERS, 'view', 'teacher', 'adapter', 'target_transform', 'loss'),
    *_OF_LOSSES,
)
WHERE = 'model.pairs'


def build_pairs(
    cfg: Mapping[str, Any] | str, student: HostModule, teachers: Mapping[str, Teacher]
) -> list[Pair]:
    """Pairs by their names.

    Args:
        cfg: ``layer`` or ``view``, ``loss``, and ``adapter``, ``levels``, ``value``,
            ``teacher``, ``target_transform``, ``per_level``, ``levels_reduction`` of
            each pair; None removes a pair.
        student: the student model.
        teachers: by name.

    Raises: ConfigError with the faults of all pairs.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(
            f"must be a dict of pairs by name, or 'auto', got {cfg!r}.", key=WHERE
        )
    probes = build_probes(student, teachers)
    pairs: list[Pair] = []
    faults: list[ConfigError] = []
    owner: dict[str, str] = {}
    # Sorted: the order in which pairs are written changes no result, not even the
    # adapters' initial weights.
    for name in sorted(cfg):
        if cfg[name] is None:
            continue
        with collected(faults), located(WHERE):
            with located(name):
                pair, _ = build_pair(name, cfg[name], probes)
            for key in pair.log_keys():
                if owner.setdefault(key, name) != name:
                    raise ConfigError(
                        f"pairs '{owner[key]}' and '{name}' would both be logged as "
                        f"'{key}'. Rename one."
                    )
            pairs.append(pair)
    raise_together(faults)
    return pairs


def build_probes(
    student: HostModule, teachers: Mapping[str, Teacher]
) -> dict[str, Probe]:
    """A probe of the student and of each teacher, by the teacher's name.

    Under ``NO_TEACHER`` stands one of the student alone, in both places.

    Raises: ConfigError for teachers of images of another kind.
    """
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
    faults: list[ConfigError] = []
    for name, probe in probes.items():
        with collected(faults), located(teachers[name].key):
            probe.check_channels()
    raise_together(faults)
    alone, path = inner_model(student), inner_path(student)
    probes[NO_TEACHER] = Probe(alone, alone, NO_TEACHER, prefixes=(path,))
    return probes


def build_pair(
    name: str, given: object, probes: Mapping[str, Probe], bind: Bind = bind
) -> tuple[Pair, dict[str, Any]]:
    """A pair, and its configuration with what ``adapter='auto'`` stands for.

    Args:
        name: of the pair.
        given: its configuration.
        probes: of the student and each teacher, as :func:`build_probes` gives them.
        bind: binds its view to both models.

    Raises: ConfigError with all its faults, without the key of the pair.
    """
    cfg = _checked(name, given)
    faults: list[ConfigError] = []
    view: View | None = None
    bound: BoundView | None = None
    loss: DistillationLoss | None = None
    schedule: Schedule | None = None
    adapters: nn.ModuleList | None = None
    transform: TargetTransform | None = None
    teacher, reduction = None, LEVELS_REDUCTIONS[0]
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
    with collected(faults), located('view') if 'view' in cfg else nullcontext():
        view = view_of(cfg)
    with collected(faults):
        teacher = _teacher_of(cfg, probes)
    size: Size = (0, 0)
    with collected(faults):
        if view is not None and teacher is not None:
            with located('view') if 'view' in cfg else nullcontext():
                if cfg.get('adapter') == AUTO:
                    cfg, bound, size = bind_by_size(cfg, view, probes[teacher], bind)
                else:
                    bound, size = bind(view, probes[teacher])
    with collected(faults):
        if teacher == NO_TEACHER:
            check_alone(cfg, bound)
        if bound is not None:
            with located('loss'):
                bound = bound.with_features(features_of(cfg['loss'], bound))
    with collected(faults), located('target_transform'):
        transform = build_target_transform(
            cfg.get('target_transform'), cfg['loss'], bound
        )
    specs: Sequence[TensorSpec] = () if bound is None else bound.tensors
    adapter, same_channels = cfg.get('adapter'), needs_same_channels(cfg['loss'])
    with collected(faults), located('loss'):
        known = known_of(specs, adapter, same_channels)
        loss, schedule = build_loss(cfg['loss'], known)
    with collected(faults):
        scale = probes[teacher].scale if teacher else 1.0
        adapters = build_adapters(adapter, specs, same_channels, scale)
    with collected(faults), located('loss'):
        if bound is not None and loss is not None and not faults:
            check_target(bound, loss, cfg)
            check_activations(bound, loss)
            if loss.auxiliary_optimizers() and len(specs) > 1:
                raise ConfigError(
                    f'{type(loss).__name__} learns from a single map, and '
                    f'{specs[0].name} is one of {len(specs)}. Choose one: levels=[0].'
                )
            for spec in specs:
                channels = student_channels(spec, adapter, same_channels)
                dry_run(loss, spec, channels, name, size, transform)
    raise_together(faults)
    assert bound is not None and loss is not None and teacher is not None
    pair = Pair(
        name,
        f'{WHERE}.{name}',
        bound,
        loss,
        adapters,
        schedule,
        teacher,
        per_level,
        reduction,
        transform,
    )
    if adapter == AUTO:
        shown = shown_auto_adapter(specs, same_channels)
        cfg = {key: value for key, value in cfg.items() if key != 'adapter'}
        if shown is not None:
            cfg['adapter'] = shown
    return pair, cfg


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


def _teacher_of(cfg: dict[str, Any], probes: Mapping[str, Any]) -> str:
    """The name of a pair's teacher; ``NO_TEACHER`` of a loss that reads none."""
    if cfg.get('target_transform') is None and not loss_reads_teacher(cfg['loss']):
        return NO_TEACHER
    teachers = [name for name in probes if name != NO_TEACHER]
    if not teachers:
        refuse_missing_teacher(cfg)
    name = cfg.get('teacher')
    if name is None and len(teachers) == 1:
        return teachers[0]
    if name is None:
        raise ConfigError(
            f'needs a teacher: one of {", ".join(repr(known) for known in teachers)}.'
        )
    if not isinstance(name, str) or name not in teachers:
        raise ConfigError(
            f"no teacher '{name}'. {nearest(str(name), teachers)}", key='teacher'
        )
    return name
