"""What two RoI heads made of the same RoIs, row by row."""

from typing import Any

import torch
from torch import Tensor

from ...losses import LossContext
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors
from ..coders import same_coder, translate
from .outputs import RoIOutputs


def softmax_context(stage: int, columns: int) -> LossContext:
    """What is known of class logits, background last."""
    return LossContext(stage=stage, activation='softmax', background=columns - 1)


def match_logits(
    own: RoIOutputs, other: RoIOutputs, stage: int, classes: ClassMap | None = None
) -> MatchedTensors:
    """Class logits (R, K + 1), of which a softmax gives probabilities.

    With a class map K counts the shared classes, and RoIs of others are masked.
    """
    assert own.logits is not None and other.logits is not None
    student, teacher = own.logits, other.logits
    if classes is not None:
        student = classes.of_student(student, background=True)
        teacher = classes.of_teacher(teacher, background=True)
    context = softmax_context(stage, student.shape[1])
    if not own.targets:
        count = float(student.shape[0])
        return MatchedTensors(student, teacher, count=count, context=context)
    labels, weights = own.targets[:2]
    mask = (weights > 0).float()
    if classes is not None:
        labels, known = classes.shared_labels(labels, background=True)
        mask = mask * known
    return MatchedTensors(student, teacher, labels, mask, mask.sum(), context)


def match_deltas(
    own: RoIOutputs,
    other: RoIOutputs,
    context: LossContext,
    head: Any,
    teacher_head: Any,
    classes: ClassMap | None = None,
) -> MatchedTensors:
    """Deltas (R, 4) of each RoI's assigned class, in the coding of ``head``.

    With a class map the teacher's are those of the same class; RoIs of one that it does
    not know are masked, and do not count. A class-agnostic teacher knows them all.
    """
    assert own.deltas is not None and other.deltas is not None
    labels, _, target, _ = own.targets
    positive = (labels >= 0) & (labels < head.num_classes)
    labels = labels.clamp(0, head.num_classes - 1)
    count: Tensor | float = float(labels.shape[0])
    student = _of_label(own.deltas, labels)
    if classes is not None and not teacher_head.reg_class_agnostic:
        labels, known = classes.teacher_labels(labels)
        count = count - (positive & ~known).sum()
        positive = positive & known
    teacher = _of_label(other.deltas, labels)
    boxes = own.rois[:, 1:].detach()
    if not same_coder(head.bbox_coder, teacher_head.bbox_coder):
        teacher = translate(teacher, boxes, teacher_head.bbox_coder, head.bbox_coder)
    if head.reg_decoded_bbox:  # the host's targets are boxes: code them
        target = head.bbox_coder.encode(boxes, target)
        target = torch.where(positive[:, None], target, torch.zeros_like(target))
    return MatchedTensors(student, teacher, target, positive.float(), count, context)


def match_features(
    own: RoIOutputs, other: RoIOutputs, context: LossContext
) -> MatchedTensors:
    """What the classifiers read, (R, D), with the labels that the RoIs may have."""
    assert own.features is not None and other.features is not None
    count = float(own.features.shape[0])
    labels = own.targets[0] if own.targets else None
    return MatchedTensors(
        own.features, other.features, labels, count=count, context=context
    )


def _of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Deltas (R, 4) of each row's class; a class-agnostic head has just one."""
    if deltas.shape[1] == 4:
        return deltas
    rows = torch.arange(len(labels), device=labels.device)
    # The number of classes is told: of no rows it could not be inferred.
    return deltas.view(len(labels), deltas.shape[1] // 4, 4)[rows, labels]
