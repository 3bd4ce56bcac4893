"""From the configuration ``pairs`` to pairs, all faults at once."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

from torch import nn

from ..checks import check_choice
from ..combinations import Combination
from ..errors import ConfigError, collected, located, nearest, raise_together
from ..host_types import HostModule
from ..inner_models import inner_model, inner_path
from ..losses import DistillationLoss
from ..schedules import Schedule
from ..target_transforms import TargetTransform
from ..teachers import Ensemble, Teacher, Teachers
from ..teachers.ensemble import read_combination
from ..views import BoundView, Probe, TensorSpec, View, bind
from ..views.probe import Size
from .dry_run import dry_run
from .ensemble_pair import EnsemblePair, combined_specs
from .members import bind_members, check_combination, of_labels
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
    *('layer', *_OF_LAYERS, 'view', 'teacher', 'combine', 'adapter'),
    *('target_transform', 'loss'),
    *_OF_LOSSES,
)
WHERE = 'model.pairs'


def build_pairs(
    cfg: Mapping[str, Any] | str, student: HostModule, teachers: Teachers
) -> list[Pair]:
    """Pairs by their names.

    Args:
        cfg: ``layer`` or ``view``, ``loss``, and ``adapter``, ``levels``, ``value``,
            ``teacher``, ``combine`` of an ensemble, ``target_transform``,
            ``per_level``, ``levels_reduction`` of each pair; None removes a pair.
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
                pair, _ = build_pair(
                    name, cfg[name], probes, ensembles=teachers.ensembles
                )
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
            same_images=teacher.same_images,
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
    name: str,
    given: object,
    probes: Mapping[str, Probe],
    bind: Bind = bind,
    ensembles: Mapping[str, Ensemble] = MappingProxyType({}),
) -> tuple[Pair, dict[str, Any]]:
    """A pair, and its configuration with what ``adapter='auto'`` stands for.

    Args:
        name: of the pair.
        given: its configuration.
        probes: of the student and each teacher, as :func:`build_probes` gives them.
        bind: binds its view to both models.
        ensembles: groups of the teachers that teach as one, by name.

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
    combination: Combination | None = None
    views: dict[str, BoundView] = {}
    asked: Sequence[str] = ()
    reduction = LEVELS_REDUCTIONS[0]
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
        asked, combination = _teachers_of(cfg, probes, ensembles)
    size: Size = (0, 0)
    with collected(faults):
        if view is not None and asked:
            probe = probes[asked[0]]
            with located('view') if 'view' in cfg else nullcontext():
                if cfg.get('adapter') == AUTO:
                    cfg, bound, size = bind_by_size(cfg, view, probe, bind)
                else:
                    bound, size = bind(view, probe)
                views = of_labels(
                    bind_members(view_of(cfg), bound, asked, probes, bind), combination
                )
    with collected(faults):
        if NO_TEACHER in asked:
            check_alone(cfg, bound)
        if views:
            with located('loss'):
                views = {
                    name: each.with_features(features_of(cfg['loss'], each))
                    for name, each in views.items()
                }
    with collected(faults), located('target_transform'):
        transform = build_target_transform(
            cfg.get('target_transform'), cfg['loss'], bound
        )
    levels: Sequence[TensorSpec] = views[asked[0]].tensors if views else ()
    specs = levels
    if views and combination is not None:
        specs = combined_specs(views, combination)
    adapter, same_channels = cfg.get('adapter'), needs_same_channels(cfg['loss'])
    with collected(faults), located('loss'):
        known = known_of(levels, adapter, same_channels)
        loss, schedule = build_loss(cfg['loss'], known)
    with collected(faults):
        scale = probes[asked[0]].scale if asked else 1.0
        adapters = build_adapters(adapter, specs, same_channels, scale)
    with collected(faults), located('loss'):
        if bound is not None and loss is not None and not faults:
            check_target(bound, loss, cfg)
            check_activations(bound, loss)
            if loss.auxiliary_optimizers() and len(levels) > 1:
                raise ConfigError(
                    f'{type(loss).__name__} learns from a single map, and '
                    f'{levels[0].name} is one of {len(levels)}. Choose one: levels=[0].'
                )
            for spec in specs:
                channels = student_channels(spec, adapter, same_channels)
                dry_run(loss, spec, channels, name, size, transform)
    with collected(faults):
        if combination is not None and loss is not None and views and not faults:
            check_combination(views, probes, combination, loss, transform, name)
    raise_together(faults)
    assert views and loss is not None
    given_whole = (
        *(name, f'{WHERE}.{name}', views[asked[0]], loss, adapters, schedule),
        *(asked[0], per_level, reduction, transform),
    )
    pair = (
        Pair(*given_whole)
        if combination is None
        else EnsemblePair(*given_whole, members=views, combination=combination)
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


def _teachers_of(
    cfg: dict[str, Any],
    probes: Mapping[str, Probe],
    ensembles: Mapping[str, Ensemble],
) -> tuple[Sequence[str], Combination | None]:
    """Names of the teachers that a pair asks, and of an ensemble how it is combined.

    ``NO_TEACHER`` of a loss that reads none.
    """
    if cfg.get('target_transform') is None and not loss_reads_teacher(cfg['loss']):
        return (NO_TEACHER,), None
    teachers = [name for name in probes if name != NO_TEACHER]
    if not teachers:
        refuse_missing_teacher(cfg)
    members = {name for each in ensembles.values() for name in each.members}
    choices = [*ensembles, *(name for name in teachers if name not in members)]
    name = cfg.get('teacher')
    if name is None and len(choices) == 1:
        name = choices[0]
    if name is None:
        raise ConfigError(
            f'needs a teacher: one of {", ".join(repr(known) for known in choices)}.'
        )
    if not isinstance(name, str) or name not in {*choices, *teachers}:
        raise ConfigError(
            f"no teacher '{name}'. {nearest(str(name), [*choices, *teachers])}",
            key='teacher',
        )
    if name not in ensembles:
        if 'combine' in cfg:
            raise ConfigError(
                f"goes with an Ensemble, and teacher '{name}' is a single model. "
                'Remove it.',
                key='combine',
            )
        return (name,), None
    ensemble = ensembles[name]
    combination = ensemble.combination
    if 'combine' in cfg:
        combination = read_combination(cfg['combine'])
    return tuple(ensemble.members), combination
