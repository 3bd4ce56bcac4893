"""Run the part of a model that holds a layer, and nothing else of it."""

import inspect
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any

from torch import Tensor, nn

from ..host_types import HostModule
from ..recorders.recorder import callable_itself
from .base import UnservedError
from .roi.outputs import ROI_HEAD, rois_key, stage_of, teacher_scores
from .rpn.outputs import RPN_HEAD, RPN_KEY, uncropped_rpn
from .run import FEATURES, FrozenRun

# Their losses call `forward` itself, past what is recorded of the head as a whole.
_DENSE_PREDICTORS = ('decode_head', 'auxiliary_head')
# Their layers are reached in ways of their own, or are no layers of a head.
_RUN_APART = ('backbone', 'neck', RPN_HEAD, ROI_HEAD)
# Of Mask2Former and MaskFormer: it reads features, and what follows reads queries too.
_PIXEL_DECODER = 'pixel_decoder'
_OF_POINTS = 'PointHead'  # scores points that it samples itself, after all others


def part_of(path: str) -> str:
    """Part of the model that a layer lies in: 'neck' of 'neck.fpn_convs.0'."""
    return path.split('.')[0]


def refuse_behind_features(model: HostModule, path: str) -> None:
    """Refuse a layer of a head that reads more than features, and cannot be run.

    Raises: UnservedError naming the head, and what it reads.
    """
    part = part_of(path)
    if part in _RUN_APART or _in_pixel_decoder(path):
        return
    head = getattr(model, part)
    if _reads_features(head):
        return
    why = 'has no forward of its own'
    if beside := _beside_features(head):
        why = (
            f'reads {" and ".join(beside)} beside the features: for these the teacher '
            'would have to run its losses'
        )
    raise UnservedError(
        f"'{path}' lies in {type(head).__name__} of {type(model).__name__}, which "
        f'{why}.'
    )


def readable_parts(model: HostModule) -> list[str]:
    """Parts of a model that can be computed from images alone."""
    names = []
    for name, child in model.named_children():
        if name in ('backbone', 'neck', RPN_HEAD):
            names.append(name)
        elif isinstance(getattr(child, _PIXEL_DECODER, None), nn.Module):
            names.append(f'{name}.{_PIXEL_DECODER}')
        elif name.endswith('head') and name != ROI_HEAD and _reads_features(child):
            names.append(name)
    return names


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
    if _in_pixel_decoder(path):
        return _run_pixel_decoder(run, part)
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


def _in_pixel_decoder(path: str) -> bool:
    return path.split('.')[1:2] == [_PIXEL_DECODER]


def _run_pixel_decoder(run: FrozenRun, part: str) -> Hashable:
    """The pixel decoder of a head, at most once; no queries, no transformer decoder."""
    decoder = getattr(run.model, part).pixel_decoder
    key = (_PIXEL_DECODER, part)

    def compute() -> Any:
        if not _beside_features(decoder):
            return decoder(run.features)
        metas = [
            dict(batch_input_shape=run.input_size, img_shape=size)
            for size in run.image_sizes()
        ]
        return decoder(run.features, metas)

    run.once(key, compute)
    return key


def _reads_features(head: nn.Module) -> bool:
    """Whether a head can be run on features alone."""
    if isinstance(head, nn.ModuleList):  # of mmseg: its heads feed one another
        return True
    return callable_itself(head) and not _beside_features(head)


def _beside_features(head: nn.Module) -> list[str]:
    """What the forward of a head must be given beside its first argument."""
    return _required(type(head).forward)[2:]


@cache
def _required(function: Callable[..., Any]) -> list[str]:
    """Arguments of a function that have no default, by name."""
    parameters = inspect.signature(function).parameters.values()
    named = (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    return [
        item.name
        for item in parameters
        if item.kind in named and item.default is inspect.Parameter.empty
    ]
