"""Class logits of one-stage heads, level by level, with the labels of each point."""

from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError
from ...host_types import HostModule, Samples
from ...losses import LossContext
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors, UnservedError
from .assignment import Assignment


def check_sigmoid(head: HostModule, view: str) -> None:
    """Refuse a head that does not give a logit of a sigmoid for each class.

    Args:
        head: of a one-stage detector.
        view: which reads them, for messages.

    Raises: UnservedError naming what to change.
    """
    name = type(head).__name__
    if getattr(getattr(head, 'loss_cls', None), 'activated', False):
        raise UnservedError(
            f'{name} gives probabilities, and {view} reads the logits of a sigmoid.'
        )
    columns = getattr(head, 'cls_out_channels', None)
    if columns is None:
        raise UnservedError(
            f'{name} gives one map of boxes, objectness and classes together, and '
            f'{view} reads class logits by themselves.'
        )
    if columns != head.num_classes:
        change = ''
        if hasattr(getattr(head, 'loss_cls', None), 'use_sigmoid'):
            change = ' Set use_sigmoid=True in bbox_head.loss_cls.'
        raise UnservedError(
            f'{name} trains its classes by a softmax over them and the background, and '
            f'{view} reads the logits of a sigmoid each.{change}'
        )


def check_classes(
    student: HostModule, teacher: HostModule, classes: ClassMap | None
) -> None:
    """Refuse heads of other classes than one another's, or than those of a class map.

    Raises: ConfigError with both numbers.
    """
    if classes is not None:
        classes.check_numbers(student.num_classes, teacher.num_classes)
    elif student.num_classes != teacher.num_classes:
        raise ConfigError(
            f'the student scores {student.num_classes} classes, the teacher '
            f'{teacher.num_classes}. Choose a teacher of the same classes, '
            'or name those of both in its class_map.'
        )


def class_logits(head: HostModule, output: Any) -> list[Tensor]:
    """Class logits (N A, K, H, W) a level, of what a head gives.

    Raises: UnservedError if it gives something else.
    """
    maps = output[0]
    anchors = head.prior_generator.num_base_priors
    anchors = anchors[0] if isinstance(anchors, (list, tuple)) else anchors
    columns = head.cls_out_channels
    if not all(
        isinstance(item, Tensor) and item.shape[1] == anchors * columns for item in maps
    ):
        raise UnservedError(
            f'{type(head).__name__} does not give class logits of {anchors} x '
            f'{columns} channels first.'
        )
    return [item.reshape(-1, columns, *item.shape[2:]) for item in maps]


def match_logits(
    student: Tensor,
    teacher: Tensor,
    inside: Tensor,
    context: LossContext,
    assignment: Assignment | None,
    classes: ClassMap | None,
) -> MatchedTensors:
    """One level of class logits, and of labels where the student's head tells them.

    Args:
        student: (N A, K, H, W).
        teacher: likewise, of its own classes.
        inside: mask (N A, H, W) of the points that lie in the image.
        context: of the level.
        assignment: what the student's own loss asks of them.
        classes: which are shared, where the two models know others.
    """
    mask, labels = inside, None
    if assignment is not None:
        assert context.level is not None
        labels, judged = assignment.label_maps(context.level, student.shape[2:])
        mask = mask * judged
    if classes is not None:
        student = classes.of_student(student)
        teacher = classes.of_teacher(teacher)
        if labels is not None:
            labels, shared = classes.shared_labels(labels, background=True)
            mask = mask * shared
    return MatchedTensors(student, teacher, labels, mask, mask.sum(), context)


def inside_image(
    samples: Samples, logits: Tensor, head: HostModule, level: int
) -> Tensor:
    """Mask (N A, H, W) of the points, or centres of anchors, that lie in the image."""
    generator = head.prior_generator
    offset = getattr(generator, 'offset', getattr(generator, 'center_offset', 0.5))
    strides = generator.strides[level]  # of columns, of rows
    ends = torch.tensor(
        [sample.metainfo['img_shape'][:2] for sample in samples],
        dtype=torch.float32,
    ).to(logits.device, non_blocking=True)
    rows, columns = (
        (torch.arange(side, device=logits.device) + offset) * stride
        for side, stride in zip(logits.shape[2:], reversed(strides), strict=True)
    )
    inside = (rows[None, :, None] < ends[:, :1, None]) & (
        columns[None, None] < ends[:, 1:, None]
    )
    anchors = len(logits) // len(samples)
    mask: Tensor = inside.float().repeat_interleave(anchors, dim=0)
    return mask
