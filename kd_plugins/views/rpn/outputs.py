"""What an RPN head gave, and what its loss asked of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...host_types import HostModule
from ...recorders import Recorder, record_method
from ..anchors import Maps
from ..base import UnservedError
from ..run import FrozenRun

RPN_KEY = 'rpn'
RPN_HEAD = 'rpn_head'


@dataclass
class RPNOutputs:
    """What an RPN head gave, and what was asked of it; a list entry is a level.

    Attributes:
        logits: (N, A C, H, W) a level.
        deltas: (N, 4 A, H, W) a level.
        anchors: (A H W, 4) an image and level.
        targets: labels, label weights, deltas and delta weights, each with
            (N, A H W, ...) a level.
    """

    logits: Maps = ()
    deltas: Maps = ()
    anchors: Sequence[Maps] = ()
    targets: tuple[Maps, ...] = ()

    @cached_property
    def sampled(self) -> Tensor:
        """Numbers (M,) of the sampled anchors, of all levels and images.

        Found once a step: to know how many there are, the device must be waited for.
        """
        weights = torch.cat([weight.flatten() for weight in self.targets[1]])
        return torch.nonzero(weights > 0).flatten()


def rpn_of(model: nn.Module) -> HostModule:
    """The RPN head of a two-stage detector.

    Raises: UnservedError if there is none, or one of another kind.
    """
    from mmdet.models.dense_heads import RPNHead

    head = getattr(model, RPN_HEAD, None)
    if type(head) is not RPNHead:
        kind = 'no rpn_head' if head is None else f'a {type(head).__name__}'
        raise UnservedError(
            f'{type(model).__name__} has {kind}; views of the RPN need an RPNHead.'
        )
    return cast(HostModule, head)


@dataclass(frozen=True)
class RPNRecorder(Recorder[RPNOutputs]):
    """Outputs and targets of the RPN, while the model computes its losses."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[RPNOutputs]:
        """Record within the block; yields the record."""
        head = rpn_of(model)
        record = RPNOutputs()

        def answered(module: nn.Module, args: Any, output: tuple[Maps, Maps]) -> None:
            record.logits, record.deltas = output

        def assigned(args: tuple[Any, ...], result: tuple[Any, ...]) -> None:
            record.anchors = args[0]
            record.targets = tuple(result[:4])

        handle = head.register_forward_hook(answered)
        try:
            with record_method(head, 'get_targets', assigned):
                yield record
        finally:
            handle.remove()


def uncropped_rpn(run: FrozenRun) -> tuple[Maps, Maps]:
    """Logits and deltas of a frozen RPN over its whole input, once a step."""
    outputs: tuple[Maps, Maps] = run.once(
        RPN_KEY, lambda: run.model.rpn_head(run.features)
    )
    return outputs


def frozen_rpn(run: FrozenRun) -> tuple[Maps, Maps]:
    """Logits and deltas of a frozen RPN over the student's input."""
    logits, deltas = uncropped_rpn(run)
    return [run.crop(item) for item in logits], [run.crop(item) for item in deltas]
