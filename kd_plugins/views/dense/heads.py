"""Heads of one-stage detectors: found, recorded, and compared point by point."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...errors import ConfigError, DistillationError, located
from ...host_types import HostModule
from ...recorders import Recorder
from ..anchors import check_priors
from ..base import SIDES, Side, UnservedError, check_same_images
from ..heads import head_outputs
from ..probe import Probe
from ..run import FrozenRun, ModelRun
from ..transformer.queries import refuse_queries
from .assignment import BBOX_HEAD


@dataclass(frozen=True)
class DenseHeadRecorder(Recorder[list[Any]]):
    """What a one-stage head gives, while the model computes its losses."""

    @contextmanager
    def attach(self, model: nn.Module) -> Iterator[list[Any]]:
        """Record within the block; yields the outputs, call by call."""
        outputs: list[Any] = []

        def answered(module: nn.Module, args: Any, output: Any) -> None:
            outputs.append(output)

        handle = dense_head(model).register_forward_hook(answered)
        try:
            yield outputs
        finally:
            handle.remove()


def dense_head(model: nn.Module) -> HostModule:
    """The head of a one-stage detector.

    Raises: UnservedError if there is none, or one of another kind.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    refuse_queries(model)
    head = getattr(model, BBOX_HEAD, None)
    if not isinstance(head, BaseDenseHead) or not hasattr(head, 'prior_generator'):
        kind = 'no bbox_head' if head is None else f'a {type(head).__name__}'
        raise UnservedError(
            f'{type(model).__name__} has {kind}; views of one-stage heads need one '
            'with points or anchors on a grid, such as FCOSHead, RetinaHead or GFLHead.'
        )
    return head  # type: ignore[no-any-return]


def dense_heads(probe: Probe) -> dict[Side, HostModule]:
    """The heads of both models.

    Raises: UnservedError naming the model whose head is another.
    """
    heads = {}
    for side in SIDES:
        with located(f'({side})'):
            heads[side] = dense_head(probe.model(side))
    return heads


def check_same_points(student: HostModule, teacher: HostModule, probe: Probe) -> None:
    """Refuse two heads that do not judge the same points or anchors.

    Raises: ConfigError naming the key to change.
    """
    if probe.scale != 1:
        raise ConfigError(
            f"teacher '{probe.teacher_name}' sees its input scaled by {probe.scale}, "
            'so that its points are not those of the student. Remove input_scale, or '
            'distil layers only.'
        )
    check_priors(student, teacher, 'strides and anchors of bbox_head')
    probe.check_images('bbox_head')


def student_outputs(student: ModelRun, view: str) -> Any:
    """What the student's head gave while it computed its losses.

    Raises: DistillationError if it did not run, or on other images than the batch's.
    """
    outputs = student.records[DenseHeadRecorder()]
    if not outputs:
        raise DistillationError(
            "the student's bbox_head did not run while it computed its losses, so "
            f"'{view}' has nothing to match."
        )
    check_same_images(len(outputs[-1][0][0]), student.batch_size, 'bbox_head')
    return outputs[-1]


def teacher_outputs(teacher: FrozenRun) -> Any:
    """What the teacher's head gives, over its whole input."""
    (outputs,) = head_outputs(teacher, BBOX_HEAD)
    return outputs
