"""Run the part of a model that holds a layer, and nothing else of it."""

from collections.abc import Hashable, Sequence
from typing import Any

from torch import Tensor, nn

from ..host_types import HostModule
from .roi.outputs import ROI_HEAD, rois_key, stage_of, teacher_scores
from .rpn.outputs import RPN_HEAD, RPN_KEY, uncropped_rpn
from .run import FEATURES, FrozenRun

# Their losses call `forward` itself, past what is recorded of the head as a whole.
_DENSE_PREDICTORS = ('decode_head', 'auxiliary_head')
_OF_POINTS = 'PointHead'  # scores points that it samples itself, after all others


def part_of(path: str) -> str:
    """Part of the model that a layer lies in: 'neck' of 'neck.fpn_convs.0'."""
    return path.split('.')[0]


def run_for(
    run: FrozenRun, path: str, rois: Tensor | None, source: Hashable
) -> Hashable:
    """Compute what a layer needs, at most once; returns the key of this computation.

    Args:
        run: of a frozen model, its features computed.
        path: dotted name of the layer.
        rois: (R, 5), in pixels of the student's input, for a layer of the RoI head.
        source: whose RoIs they are.
    """
    part = part_of(path)
    if part in ('backbone', 'neck'):
        return FEATURES
    if part == RPN_HEAD:
        uncropped_rpn(run)
        return RPN_KEY
    if part == ROI_HEAD:
        assert rois is not None
        stage = stage_of(run.model, path)
        teacher_scores(run, stage, rois, source)
        return rois_key(stage, source)
    head_outputs(run, part)
    return head_key(part)


def head_key(part: str) -> Hashable:
    """Under what a run keeps the answers of a dense head."""
    return ('head', part)


def head_outputs(run: FrozenRun, part: str) -> list[Any]:
    """What a dense head gives, at most once: one entry a stage of a cascade.

    Args:
        run: of a frozen model, its features computed.
        part: of the model, such as 'bbox_head' or 'decode_head'.
    """
    return run.once(head_key(part), lambda: _run_head(run.model, part, run.features))


def _run_head(model: HostModule, part: str, features: Sequence[Tensor]) -> list[Any]:
    head = getattr(model, part)
    if not isinstance(head, nn.ModuleList):
        return [(head.forward if part in _DENSE_PREDICTORS else head)(features)]
    # Of mmseg: auxiliary heads stand side by side, those of a cascade feed each other.
    outputs: list[Any] = []
    for single in head:
        if type(single).__name__ == _OF_POINTS:
            break
        previous = outputs[-1:] if part == 'decode_head' else []
        outputs.append(single.forward(features, *previous))
    return outputs
