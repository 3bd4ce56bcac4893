"""What a one-stage head's own loss asks of its points or anchors, read as it asks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import DistillationError
from ...host_types import HostModule, Samples
from ...recorders import Recorder, record_method
from ..anchors import Maps
from ..run import ModelRun

BBOX_HEAD = 'bbox_head'


@dataclass(frozen=True)
class TargetsRecorder(Recorder[list[tuple[Any, ...]]]):
    """What ``bbox_head.get_targets`` gives, while the model computes its losses."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[list[tuple[Any, ...]]]:
        """Record within the block; yields the results, call by call."""
        results: list[tuple[Any, ...]] = []

        def assigned(args: tuple[Any, ...], result: tuple[Any, ...]) -> None:
            results.append(result)

        with record_method(model.bbox_head, 'get_targets', assigned):
            yield results


class Columns(NamedTuple):
    """Where in what ``get_targets`` gives they are; None where there is no such."""

    labels: int
    weights: int | None
    boxes: int


@dataclass(frozen=True)
class Assignment:
    """Labels and boxes in the host's order: point by point, anchor by anchor.

    Attributes:
        labels: (N, H W A) a level; K is the background.
        weights: of the labels, likewise; None where all have one.
        boxes: (N, H W A, 4) a level, as the head wants them said: deltas, distances, or
            boxes in pixels.
        num_classes: K.
    """

    labels: Maps
    weights: Maps | None
    boxes: Maps
    num_classes: int

    @cached_property
    def positives(self) -> Tensor:
        """Numbers (M,) of the anchors that have an object, of all levels and images.

        Found once a step: to know how many there are, the device must be waited for.
        """
        labels = torch.cat([level.flatten() for level in self.labels])
        return torch.nonzero((labels >= 0) & (labels < self.num_classes)).flatten()

    @cached_property
    def count(self) -> Tensor:
        """How many positives there are, a scalar; an image counts one at least.

        So count mmdet's heads of anchors; FCOS counts one at least of a whole batch.
        """
        labels = torch.cat(list(self.labels), dim=1)
        positive = (labels >= 0) & (labels < self.num_classes)
        return positive.sum(dim=1).clamp(min=1).sum().float()

    @cached_property
    def label_weights(self) -> Tensor:
        """Weights (N, A) in the class loss, all levels; 0 where it does not judge."""
        if self.weights is None:
            return torch.ones_like(torch.cat(list(self.labels), dim=1)).float()
        return torch.cat(list(self.weights), dim=1).float()

    def label_maps(self, level: int, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Labels (N A, H, W) of a level, anchor by anchor, and 1 where they count.

        Args:
            level: counted from 0.
            size: height and width.
        """
        labels = _as_maps(self.labels[level], size)
        if self.weights is None:
            return labels, torch.ones_like(labels, dtype=torch.float32)
        return labels, (_as_maps(self.weights[level], size) > 0).float()


def assigned_columns(head: HostModule) -> Columns | None:
    """How to read the targets of a head; None if its loss may not use them as they are.

    Args:
        head: of a one-stage detector. Of another class that computes its loss, or its
            targets, by itself, it is not known how the targets are used.
    """
    from mmdet.models import dense_heads as heads

    behind_anchors = Columns(1, 2, 3)
    columns_of = {
        heads.AnchorHead: Columns(0, 1, 2),
        heads.ATSSHead: behind_anchors,
        heads.GFLHead: behind_anchors,
        heads.LDHead: behind_anchors,
        heads.RTMDetHead: behind_anchors,
        heads.FCOSHead: Columns(0, None, 1),
    }
    for kind, columns in columns_of.items():
        if all(
            getattr(type(head), name, None) is getattr(kind, name)
            for name in ('loss_by_feat', 'get_targets')
        ):
            return columns
    return None


def assignment_of(student: ModelRun, samples: Samples, view: str) -> Assignment:
    """What the student's own loss asked in this step; nothing is assigned anew.

    Args:
        student: run of the student.
        samples: of the batch.
        view: which asks for it, for messages.

    Raises: DistillationError if the student did not compute it.
    """
    results = targets_of(student, view)

    def read() -> Assignment:
        head, images = student.model.bbox_head, len(samples)
        columns = assigned_columns(head)
        assert columns is not None
        labels, boxes = results[columns.labels], results[columns.boxes]
        return Assignment(
            [item.reshape(images, -1) for item in labels],
            None if columns.weights is None else results[columns.weights],
            [item.reshape(images, -1, 4) for item in boxes],
            head.num_classes,
        )

    return student.once('assignment', read)


def targets_of(student: ModelRun, view: str) -> tuple[Any, ...]:
    """What ``get_targets`` of the student's head gave in this step; as above."""
    results = student.records[TargetsRecorder()]
    if not results:
        raise DistillationError(
            "the student's bbox_head did not compute targets by 'get_targets' while it "
            f"computed its losses, so '{view}' has nothing to match."
        )
    return results[-1]


def _as_maps(rows: Tensor, size: Sequence[int]) -> Tensor:
    """Rows (N, H W A) as maps (N A, H, W)."""
    maps = rows.reshape(len(rows), *size, -1).permute(0, 3, 1, 2)
    return maps.reshape(-1, *size)
