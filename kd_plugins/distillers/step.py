"""One training step as one object: what goes in, and what both models made of it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor

from ..host_types import Samples
from ..losses import StepData
from ..schedules import Clock
from ..views import FrozenRun, MatchedTensors, ModelRun

Matched = dict[str, list[MatchedTensors | None]]


@dataclass
class Step:
    """One step: built by :meth:`Distiller.step`, and nowhere else.

    Attributes:
        inputs: (N, C, H, W), preprocessed for the student.
        samples: data samples of the batch.
        clock: how far training is; None where it is not known.
        active: names of the pairs that are matched in this step.
        student: run of the student: of a frozen step a :class:`FrozenRun`.
        teachers: runs of the teachers that an active pair asks, by name.
        recording: the student's recorders; closed once it has run for its losses, since
            a view may run a part of it again.
        exact: whether its teachers run as they are, and none is to be decided about.
    """

    inputs: Tensor
    samples: Samples
    clock: Clock | None
    active: frozenset[str]
    student: ModelRun
    teachers: dict[str, FrozenRun]
    recording: ExitStack
    exact: bool = False

    @property
    def data(self) -> StepData:
        """What losses may know of it."""
        iteration = None if self.clock is None else self.clock.iteration
        return StepData(self.inputs, self.samples, iteration)


def average_counts(
    matched: Matched, numbers: Mapping[str, int], device: torch.device
) -> None:
    """Counts of every pair averaged over the ranks, in one message for all of them.

    Args:
        matched: tensors of each level or stage, by pair; their counts are replaced.
        numbers: levels or stages of every pair, by name. What is not matched on this
            rank counts 0, so that the message is as long on all of them.
        device: where the ranks exchange them.
    """
    if get_world_size() == 1 or not numbers:
        return
    slots: list[MatchedTensors | None] = []
    for name, number in numbers.items():
        slots += matched.get(name) or [None] * number
    # The numbers in one copy, from pinned memory: the device is not waited for.
    flat = torch.tensor(
        [
            0.0 if item is None or isinstance(item.count, Tensor) else float(item.count)
            for item in slots
        ],
        pin_memory=device.type == 'cuda',
    )
    stacked = flat.to(device, non_blocking=True)
    for index, item in enumerate(slots):
        if item is not None and isinstance(item.count, Tensor):
            stacked[index] = item.count.detach()
    all_reduce(stacked, op='mean')
    for item, count in zip(slots, stacked, strict=True):
        if item is not None:
            item.count = count
