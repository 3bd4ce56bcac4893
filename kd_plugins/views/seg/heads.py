"""Decode heads that give class logits of pixels, and what of them can be compared."""

from typing import Any, Literal

from torch import Tensor, nn

from ...errors import ConfigError, DistillationError, located
from ...host_types import HostModule
from ...teachers.class_map import ClassMap
from ..base import SIDES, Side
from ..probe import Probe
from .decode import DECODE_HEAD, decode_stage

Activation = Literal['softmax', 'sigmoid']
# Where a head gives several maps in training: which is the one it predicts by.
_MAIN = {
    'DAHead': 0,
    'EncHead': 0,
    'DDRHead': 0,
    'PIDHead': 1,
    'IterativeDecodeHead': -1,
}
_DEPTH = 'VPDDepthHead'


def seg_head(model: nn.Module, stage: int | None) -> HostModule:
    """The decode head that gives class logits of pixels.

    Args:
        model: a segmentor.
        stage: of a cascade, from 0; None: the last.

    Raises: ConfigError if there is none, or one of another kind.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    head = decode_stage(model, stage, 'seg.logits')
    name = type(head).__name__
    reason = None
    if name == 'PointHead':
        reason = 'scores points that it samples itself. Set stage=0, the coarse map'
    elif name == _DEPTH:
        reason = 'predicts a depth. Use depth.map'
    elif not isinstance(head, BaseDecodeHead) or name == 'SideAdapterCLIPHead':
        reason = "scores masks, not pixels. Use a 'layer' pair"
    if reason is not None:
        raise ConfigError(f'the decode head {name} {reason}.')
    return head


def seg_heads(
    probe: Probe, stage: int | None
) -> tuple[dict[Side, HostModule], dict[Side, int | None]]:
    """The decode heads of both models, and the stage that is meant of each.

    Args:
        probe: of the two models.
        stage: of the student; the same of a teacher that is a cascade too.

    Raises: ConfigError naming the model whose head is another.
    """
    cascade = isinstance(getattr(probe.teacher, DECODE_HEAD, None), nn.ModuleList)
    stages: dict[Side, int | None] = {
        'student': stage,
        'teacher': stage if cascade else None,
    }
    heads = {}
    for side in SIDES:
        with located(f'({side})'):
            heads[side] = seg_head(probe.model(side), stages[side])
    return heads, stages


def main_logits(head: HostModule, output: Any) -> Tensor:
    """Of what a head gives, the map that it predicts by.

    Raises: DistillationError for a head that is not known to give several.
    """
    if isinstance(output, Tensor):
        return output
    names = [kind.__name__ for kind in type(head).__mro__]
    name = next((name for name in names if name in _MAIN), '')
    if not name:
        raise DistillationError(
            f'decode_head {type(head).__name__} gives a {type(output).__name__} in '
            'training, and seg.logits does not know which map it predicts by. Use a '
            "'layer' pair."
        )
    logits: Tensor = output[_MAIN[name]]
    return logits


def check_classes(
    heads: dict[Side, HostModule], class_map: ClassMap | None
) -> Activation:
    """How both heads turn the same classes into probabilities.

    Raises: ConfigError where classes or activations differ.
    """
    student, teacher = (heads[side].out_channels for side in SIDES)
    if class_map is not None:
        if 1 in (student, teacher):
            raise ConfigError(
                'of a decode_head with a single column (out_channels=1) the '
                "teacher's class_map can choose no classes. Remove it."
            )
        class_map.check_numbers(student, teacher)
    elif student != teacher:
        raise ConfigError(
            f'the student scores {student} classes, the teacher {teacher}. Choose a '
            'teacher of the same classes, or name those of both in its class_map.'
        )
    kind, teacher_kind = (_activation(heads[side]) for side in SIDES)
    if kind != teacher_kind:
        raise ConfigError(
            f'the student trains its classes by a {kind}, the teacher by a '
            f'{teacher_kind}: their logits cannot be compared. Set the same '
            'use_sigmoid in both decode_head.loss_decode.'
        )
    if class_map and kind == 'softmax' and len(class_map.shared) == 1:
        raise ConfigError(
            f"only '{class_map.shared[0]}' is shared, and a softmax over one class is "
            "always 1. Name more in the teacher's class_map.rename, or distil features."
        )
    return kind


def _activation(head: HostModule) -> Activation:
    losses = getattr(head, 'loss_decode', None)
    every = losses if isinstance(losses, nn.ModuleList) else [losses]
    # Beside a cross-entropy over classes others, such as Dice, may say otherwise.
    sigmoid = all(getattr(loss, 'use_sigmoid', False) for loss in every)
    return 'sigmoid' if head.out_channels == 1 or sigmoid else 'softmax'
