"""The loss of a pair: built knowing what it will compare, and checked against it."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..build import build, class_of
from ..errors import ConfigError, located, nearest
from ..losses import DistillationLoss
from ..registry import ADAPTERS, LOSSES
from ..schedules import Schedule, build_schedule
from ..signatures import arguments
from ..views import BoundView, TensorSpec
from ..views.base import SIDES
from .pair import optional_inputs
from .pair_adapters import AUTO, auto_adapter


def needs_same_channels(loss: object) -> bool:
    """Whether a loss of this configuration needs as many channels of both."""
    kind = class_of(LOSSES, loss.get('type')) if isinstance(loss, dict) else None
    return bool(getattr(kind, 'same_channels', True))


def known_of(
    specs: Sequence[TensorSpec], adapter: object, same_channels: bool
) -> dict[str, Any]:
    """What a loss may want to know of what it will compare, by argument."""
    names = ('channels', 'student_channels', 'teacher_channels')
    if not specs:  # there is a fault already
        return dict.fromkeys(names, 1)
    student = student_channels(specs[0], adapter, same_channels)
    teacher = specs[0].teacher[1]
    known: dict[str, Any] = dict(zip(names, (teacher, student, teacher), strict=True))
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
