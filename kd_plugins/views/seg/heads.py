"""Decode heads that give class logits of pixels, and what of them can be compared."""

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError, located
from ...host_types import HostModule
from ...teachers.class_map import ClassMap
from ..base import SIDES, Activation, Side, UnservedError
from ..probe import Probe
from .decode import DECODE_HEAD, decode_stage

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

    Raises: UnservedError if there is none, or one of another kind.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    head = decode_stage(model, stage, 'a view of pixels')
    name = type(head).__name__
    reason = None
    if name == 'PointHead':
        reason = 'scores points that it samples itself. Set stage=0, the coarse map'
    elif name == _DEPTH:
        reason = 'predicts a depth'
    elif not isinstance(head, BaseDecodeHead) or name == 'SideAdapterCLIPHead':
        reason = 'scores masks, not pixels'
    if reason is not None:
        raise UnservedError(f'the decode head {name} {reason}.')
    return head


def seg_heads(
    probe: Probe, stage: int | None
) -> tuple[dict[Side, HostModule], dict[Side, int | None]]:
    """The decode heads of both models, and the stage that is meant of each.

    Args:
        probe: of the two models.
        stage: of the student; the same of a teacher that is a cascade too.

    Raises: UnservedError naming the model whose head is another.
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

    Raises: UnservedError for a head that is not known to give several.
    """
    if isinstance(output, Tensor):
        return output
    names = [kind.__name__ for kind in type(head).__mro__]
    name = next((name for name in names if name in _MAIN), '')
    if not name:
        raise UnservedError(
            f'decode_head {type(head).__name__} gives a {type(output).__name__} in '
            'training, and seg.logits does not know which map it predicts by.'
        )
    logits: Tensor = output[_MAIN[name]]
    return logits


def check_classes(
    heads: dict[Side, HostModule], class_map: ClassMap | None
) -> dict[Side, Activation]:
    """How each head turns the same classes into probabilities.

    Raises: ConfigError where classes differ.
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
    kinds = {side: activation_of(heads[side]) for side in SIDES}
    if class_map and 'softmax' in kinds.values() and len(class_map.shared) == 1:
        raise ConfigError(
            f"only '{class_map.shared[0]}' is shared, and a softmax over one class is "
            "always 1. Name more in the teacher's class_map.rename, or distil features."
        )
    return kinds


def activation_of(head: HostModule) -> Activation:
    """How a decode head turns logits into probabilities."""
    losses = getattr(head, 'loss_decode', None)
    every = losses if isinstance(losses, nn.ModuleList) else [losses]
    # Beside a cross-entropy over classes others, such as Dice, may say otherwise.
    sigmoid = all(getattr(loss, 'use_sigmoid', False) for loss in every)
    return 'sigmoid' if head.out_channels == 1 or sigmoid else 'softmax'
