"""Decode heads of mmsegmentation, whatever they predict."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from ...checks import check_optional_int
from ...errors import ConfigError, DistillationError
from ...host_types import HostModule
from ...recorders import Recorder, record_method
from ..base import UnservedError

DECODE_HEAD = 'decode_head'


def decode_stage(model: nn.Module, stage: int | None, view: str) -> HostModule:
    """One stage of the decode head.

    Args:
        model: a segmentor or depth estimator.
        stage: of a cascade, from 0; None: the last.
        view: which asks for it, for messages.

    Raises: UnservedError if there is none; ConfigError for a stage there is not.
    """
    head = getattr(model, DECODE_HEAD, None)
    if head is None:
        raise UnservedError(
            f'{type(model).__name__} has no decode_head; {view} needs a model of '
            'mmsegmentation.'
        )
    stages = [*head] if isinstance(head, nn.ModuleList) else [head]
    check_optional_int('stage', stage, minimum=0)
    if stage is not None and stage >= len(stages):
        raise ConfigError(
            f'got {stage}; decode_head has {len(stages)} stages, counted from 0.',
            key='stage',
        )
    return cast(HostModule, stages[-1 if stage is None else stage])


@dataclass
class DecodeOutputs:
    """What the task loss of a decode head was computed of, call by call."""

    outputs: list[Any] = field(default_factory=list)

    def output(self, view: str) -> Any:
        """The last of them.

        Raises: DistillationError if there is none.
        """
        if not self.outputs:
            raise DistillationError(
                "the student's decode head did not compute its loss by "
                f"'loss_by_feat', so '{view}' has nothing to match."
            )
        return self.outputs[-1]


@dataclass(frozen=True)
class DecodeRecorder(Recorder[DecodeOutputs]):
    """What one stage of the decode head gives, while the model computes its losses.

    Its ``loss`` calls its own ``forward``, past anything that is hooked on the head.
    """

    stage: int | None = None

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[DecodeOutputs]:
        """Record within the block; yields the outputs."""
        head = decode_stage(model, self.stage, 'this view')
        record = DecodeOutputs()

        def seen(args: tuple[Any, ...], result: Any) -> None:
            record.outputs.append(args[0])

        with record_method(head, 'loss_by_feat', seen):
            yield record


def resized(maps: Tensor, size: Any, head: HostModule) -> Tensor:
    """Maps of a head at another size, as the head itself would resize them."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size, mode='bilinear', align_corners=head.align_corners)
