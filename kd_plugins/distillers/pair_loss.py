"""The loss of a pair: built knowing what it will compare, and checked against it."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..build import build, class_of
from ..errors import ConfigError, located, nearest
from ..losses import DistillationLoss
from ..registry import ADAPTERS, LOSSES, TARGET_TRANSFORMS
from ..schedules import Schedule, build_schedule
from ..signatures import arguments
from ..target_transforms import TargetTransform
from ..views import BoundView, TensorSpec
from ..views.base import SIDES
from .pair import FEATURES, optional_inputs, reads_teacher
from .pair_adapters import AUTO, auto_adapter

# What can serve a loss that reads no teacher, and a target transform.
_OF_LOGITS = "'roi.logits', 'head.logits' or 'seg.logits'"


def needs_same_channels(loss: object) -> bool:
    """Whether a loss of this configuration needs as many channels of both."""
    kind = class_of(LOSSES, loss.get('type')) if isinstance(loss, dict) else None
    return bool(getattr(kind, 'same_channels', True))


def loss_reads_teacher(loss: object) -> bool:
    """Whether a loss of this configuration compares with a teacher."""
    kind = class_of(LOSSES, loss.get('type')) if isinstance(loss, dict) else None
    return kind is None or not hasattr(kind, 'forward') or reads_teacher(kind)


def without_teacher() -> list[str]:
    """Names of the losses that read no teacher."""
    LOSSES.import_from_location()
    return sorted(
        name
        for name, kind in LOSSES.module_dict.items()
        if issubclass(kind, DistillationLoss) and not reads_teacher(kind)
    )


def known_of(
    specs: Sequence[TensorSpec], adapter: object, same_channels: bool
) -> dict[str, Any]:
    """What a loss may want to know of what it will compare, by argument."""
    names = ('channels', 'student_channels', 'teacher_channels', 'feature_channels')
    if not specs:  # there is a fault already
        return dict.fromkeys(names, 1)
    student = student_channels(specs[0], adapter, same_channels)
    teacher = specs[0].teacher[1]
    (*_, feature) = (1, *(shape[1] for shape in specs[0].features.values()))
    values = (teacher, student, teacher, feature)
    known: dict[str, Any] = dict(zip(names, values, strict=True))
    levels = [spec.context.level for spec in specs]
    if None not in levels:
        known['levels'] = levels
    return known


def student_channels(spec: TensorSpec, adapter: object, same_channels: bool) -> int:
    """Those that a loss is given: behind an adapter, the teacher's."""
    if adapter == AUTO:
        adapter = auto_adapter(spec, same_channels)
    if isinstance(adapter, dict):
        kind = class_of(ADAPTERS, adapter.get('type'))
        if kind is not None and 'teacher_channels' in arguments(kind):
            return spec.teacher[1]
    return spec.student[1]


def build_loss(
    cfg: object, known: Mapping[str, Any]
) -> tuple[DistillationLoss, Schedule | None]:
    """A loss, and the schedule of its weight, where it has one.

    Args:
        cfg: of the loss.
        known: what it may want to know, by argument; its own keys have priority.

    Raises: ConfigError for what is no loss of a pair.
    """
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


def check_target(
    view: BoundView, loss: DistillationLoss, cfg: Mapping[str, Any]
) -> None:
    """Refuse a loss that needs the host's targets, where the view has none."""
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


def check_activations(view: BoundView, loss: DistillationLoss) -> None:
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


def build_target_transform(
    cfg: object, loss: object, view: BoundView | None
) -> TargetTransform | None:
    """The target transform of a pair, or None.

    Args:
        cfg: of the transform, or None.
        loss: configuration of the loss that it serves.
        view: of the pair; None: there is a fault already.

    Raises: ConfigError for what is no target transform, for one that a loss does not
        notice, and for tensors that are no logits.
    """
    if cfg is None:
        return None
    transform = build(TARGET_TRANSFORMS, cfg)
    name = type(transform).__name__
    if not isinstance(transform, TargetTransform):
        raise ConfigError(f'{name} is no TargetTransform.')
    if not (loss_reads_teacher(loss) or transform.weighs_rows):
        assert isinstance(loss, dict)
        raise ConfigError(
            f"{name} changes the teacher's logits, and {loss['type']} reads none. "
            "Remove target_transform, or compare with them: loss=dict(type='KDLoss')."
        )
    if view is not None and not view.of_logits:
        raise ConfigError(
            f'{name} changes logits, and {view.tensors[0].name} holds none. Use a view '
            f'of logits, such as {_OF_LOGITS}, or remove target_transform.'
        )
    return transform


def check_alone(cfg: Mapping[str, Any], view: BoundView | None) -> None:
    """Refuse a pair without a teacher that would need one.

    Args:
        cfg: of the pair, whose loss reads no teacher.
        view: of the pair, bound to the student alone; None: there is a fault already.

    Raises: ConfigError naming the key to remove, or another view.
    """
    loss = cfg['loss']['type']
    for key in ('teacher', 'combine', 'adapter'):
        if cfg.get(key) is not None:
            raise ConfigError(
                f'{loss} reads no teacher. Remove {key} from this pair.', key=key
            )
    if view is not None and view.match_alone is None:
        raise ConfigError(
            f'compares two models, and {loss} reads no teacher. Use view={_OF_LOGITS}, '
            'at the RoIs and at the size of the student.',
            key='view' if 'view' in cfg else 'layer',
        )


def features_of(loss: object, view: BoundView) -> list[str]:
    """What a loss reads of the student beside its logits.

    Args:
        loss: configuration of the loss.
        view: of the pair.

    Raises: ConfigError if the view does not know it.
    """
    kind = class_of(LOSSES, loss.get('type')) if isinstance(loss, dict) else None
    if kind is None or not hasattr(kind, 'forward'):
        return []
    names = [name for name in FEATURES if name in optional_inputs(kind)]
    for name in names:
        if name not in view.features:
            raise ConfigError(
                f'{kind.__name__} reads {name} of the student beside its logits, which '
                f"{view.tensors[0].name} of this model does not know. Use view='"
                "roi.logits' or 'seg.logits', at the RoIs and at the size of the "
                'student.'
            )
    return names


def refuse_missing_teacher(cfg: Mapping[str, Any]) -> NoReturn:
    """Refuse a pair that asks for a teacher, in a run that has none.

    Raises: ConfigError naming what asks for it.
    """
    alone = not loss_reads_teacher(cfg['loss'])
    key = 'target_transform' if alone else 'loss'
    asks = cfg[key].get('type') if isinstance(cfg[key], dict) else cfg[key]
    others = ', '.join(f"'{name}'" for name in without_teacher())
    raise ConfigError(
        f"'{asks}' needs a teacher, and this run has none (model.teacher=None). Set "
        'model.teacher=dict(cfg=..., checkpoint=...), or '
        + ('remove it.' if alone else f'use a loss without one: {others}.'),
        key=key,
    )
