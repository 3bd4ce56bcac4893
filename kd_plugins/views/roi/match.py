"""What two RoI heads made of the same RoIs, row by row."""

import torch
from torch import Tensor

from ...host_types import HostModule
from ...losses import LossContext
from ...teachers.class_map import ClassMap
from ..base import MatchedTensors
from ..coders import same_coder, translate
from .outputs import RoIOutputs


def softmax_context(stage: int, columns: int) -> LossContext:
    """What is known of class logits, background last."""
    return LossContext(stage=stage, activation='softmax', background=columns - 1)


def match_logits(
    student: RoIOutputs,
    teacher: RoIOutputs,
    stage: int,
    classes: ClassMap | None = None,
) -> MatchedTensors:
    """Class logits (R, K + 1), of which a softmax gives probabilities.

    With a class map K counts the shared classes, and RoIs of others are masked.
    """
    assert student.logits is not None and teacher.logits is not None
    student_logits, teacher_logits = student.logits, teacher.logits
    if classes is not None:
        student_logits = classes.of_student(student_logits, background=True)
        teacher_logits = classes.of_teacher(teacher_logits, background=True)
    context = softmax_context(stage, student_logits.shape[1])
    images = student.rois[:, 0].long()
    if not student.targets:
        count = float(student_logits.shape[0])
        return MatchedTensors(
            student_logits, teacher_logits, count=count, context=context, images=images
        )
    labels, weights = student.targets[:2]
    mask = (weights > 0).float()
    if classes is not None:
        labels, shared = classes.shared_labels(labels, background=True)
        mask = mask * shared
    return MatchedTensors(
        student_logits,
        teacher_logits,
        labels,
        mask,
        mask.sum(),
        context,
        images=images,
    )


def match_deltas(
    student: RoIOutputs,
    teacher: RoIOutputs,
    context: LossContext,
    student_head: HostModule,
    teacher_head: HostModule,
    classes: ClassMap | None = None,
) -> MatchedTensors:
    """Deltas (R, 4) of each RoI's assigned class, in the coding of the student's head.

    With a class map the teacher's are those of the same class; RoIs of one that it does
    not know are masked, and do not count. A class-agnostic teacher knows them all.
    """
    assert student.deltas is not None and teacher.deltas is not None
    coder = student_head.bbox_coder
    labels, _, target, _ = student.targets
    positive = (labels >= 0) & (labels < student_head.num_classes)
    labels = labels.clamp(0, student_head.num_classes - 1)
    count: Tensor | float = float(labels.shape[0])
    student_deltas = _of_label(student.deltas, labels)
    if classes is not None and not teacher_head.reg_class_agnostic:
        labels, shared = classes.teacher_labels(labels)
        count = count - (positive & ~shared).sum()
        positive = positive & shared
    teacher_deltas = _of_label(teacher.deltas, labels)
    boxes = student.rois[:, 1:].detach()
    if not same_coder(coder, teacher_head.bbox_coder):
        teacher_deltas = translate(
            teacher_deltas, boxes, teacher_head.bbox_coder, coder
        )
    if student_head.reg_decoded_bbox:  # the host's targets are boxes: code them
        target = coder.encode(boxes, target)
        target = torch.where(positive[:, None], target, torch.zeros_like(target))
    return MatchedTensors(
        student_deltas, teacher_deltas, target, positive.float(), count, context
    )


def match_features(
    student: RoIOutputs, teacher: RoIOutputs, context: LossContext
) -> MatchedTensors:
    """What the classifiers read, (R, D), with the labels that the RoIs may have."""
    assert student.features is not None and teacher.features is not None
    return MatchedTensors(
        student.features,
        teacher.features,
        student.targets[0] if student.targets else None,
        count=float(student.features.shape[0]),
        context=context,
    )


def _of_label(deltas: Tensor, labels: Tensor) -> Tensor:
    """Deltas (R, 4) of each row's class; a class-agnostic head has just one."""
    if deltas.shape[1] == 4:
        return deltas
    rows = torch.arange(len(labels), device=labels.device)
    # The number of classes is given: of no rows it could not be inferred.
    return deltas.view(len(labels), deltas.shape[1] // 4, 4)[rows, labels]
