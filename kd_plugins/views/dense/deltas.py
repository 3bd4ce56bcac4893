"""Boxes of one-stage heads, at the student's positives, as the heads say them."""

from typing import Literal

import torch
from torch import Tensor

from ...errors import located
from ...host_types import HostModule
from ..anchors import Maps, by_anchor, rows_at
from ..base import MatchedTensors, TensorSpec, UnservedError
from ..coders import same_coder, translate
from .assignment import Assignment, assigned_columns

Coding = Literal['deltas', 'distances']
_NAMES = {
    'deltas': 'deltas of its anchors',
    'distances': 'distances of its edges from a point',
}


def box_coding(head: HostModule) -> Coding:
    """Whether a head says a box as deltas of an anchor, or as distances from a point.

    Raises: UnservedError for a head of which that is not known.
    """
    from mmdet.models.dense_heads import FCOSHead, GFLHead, RTMDetHead
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    if assigned_columns(head) is not None:
        if isinstance(head, (FCOSHead, GFLHead, RTMDetHead)):
            return 'distances'
        if type(head.bbox_coder) is DeltaXYWHBBoxCoder:
            return 'deltas'
    kind = type(head).__name__
    if hasattr(head, 'bbox_coder'):
        kind += f' with a {type(head.bbox_coder).__name__}'
    raise UnservedError(
        'head.deltas reads the boxes of RetinaHead and ATSSHead with a '
        'DeltaXYWHBBoxCoder, FCOSHead, GFLHead, LDHead and RTMDetHead; bbox_head is a '
        f'{kind}.'
    )


def deltas_spec(student: HostModule, teacher: HostModule) -> TensorSpec:
    """The rows that two heads of boxes give.

    Args:
        student: the student's head.
        teacher: the teacher's.

    Raises: UnservedError for heads that are not known, and for two that say a box
        differently.
    """
    with located('(student)'):
        student_coding = box_coding(student)
    with located('(teacher)'):
        teacher_coding = box_coding(teacher)
    if student_coding != teacher_coding:
        raise UnservedError(
            f'{type(student).__name__} of the student says a box as '
            f'{_NAMES[student_coding]}, {type(teacher).__name__} of the teacher as '
            f'{_NAMES[teacher_coding]}. Choose heads of one kind.'
        )
    return TensorSpec('head.deltas', (-1, 4), (-1, 4), target=(-1, 4))


def match_deltas(
    student_head: HostModule,
    teacher_head: HostModule,
    student: Maps,
    teacher: Maps,
    assignment: Assignment,
) -> MatchedTensors:
    """Boxes (M, 4) of the anchors or points that have an object, and their targets.

    Deltas are in the coding of the student's head; distances, left, top, right and
    bottom, in strides of their level.

    Args:
        student_head: the student's.
        teacher_head: the teacher's.
        student: boxes that the student's head gives, (N, ..., H, W) a level.
        teacher: those of the teacher, of the same sizes.
        assignment: what the student's own loss asks.
    """
    numbers = assignment.positives
    if box_coding(student_head) == 'distances':
        student_boxes = _distances(student_head, student, numbers)
        teacher_boxes = _distances(teacher_head, teacher, numbers)
        target = _distance_targets(student_head, student, assignment)
    else:
        coder = student_head.bbox_coder
        student_boxes = rows_at(by_anchor(student, 4), numbers)
        teacher_boxes = rows_at(by_anchor(teacher, 4), numbers)
        target = rows_at(assignment.boxes, numbers)
        recode = not same_coder(coder, teacher_head.bbox_coder)
        if recode or student_head.reg_decoded_bbox:
            anchors = rows_at(_priors(student_head, student), numbers)
            if recode:
                teacher_boxes = translate(
                    teacher_boxes, anchors, teacher_head.bbox_coder, coder
                )
            if student_head.reg_decoded_bbox:  # the host's targets are boxes
                target = coder.encode(anchors, target)
    return MatchedTensors(
        student_boxes, teacher_boxes, target, count=float(len(numbers))
    )


def _distances(head: HostModule, maps: Maps, numbers: Tensor) -> Tensor:
    """Distances (M, 4) in strides, of what a head gives."""
    from mmdet.models.dense_heads import GFLHead

    if isinstance(head, GFLHead):  # where each edge is expected to be
        bins = head.reg_max + 1
        edges = rows_at(by_anchor(maps, 4 * bins), numbers).view(-1, 4, bins)
        positions = torch.arange(bins, dtype=torch.float32, device=edges.device)
        return (edges.float().softmax(dim=2) * positions).sum(dim=2)
    # In training, and then only, normalised ones are in strides already.
    if not (getattr(head, 'norm_on_bbox', False) and head.training):
        maps = _over_strides(head, maps)
    return rows_at(by_anchor(maps, 4), numbers)


def _distance_targets(head: HostModule, maps: Maps, assignment: Assignment) -> Tensor:
    """Distances (M, 4) in strides, from points to the boxes that they are assigned."""
    from mmdet.models.dense_heads import FCOSHead, GFLHead

    numbers, targets = assignment.positives, assignment.boxes
    if isinstance(head, FCOSHead):  # the host's targets are distances
        if not head.norm_on_bbox:
            targets = _over_strides(head, targets)
        return rows_at(targets, numbers)
    boxes = rows_at(_over_strides(head, targets), numbers)
    points = rows_at(_over_strides(head, _priors(head, maps)), numbers)
    if isinstance(head, GFLHead):  # as in the host's loss, no farther than the last bin
        centres = (points[:, :2] + points[:, 2:]) / 2
        clipped: Tensor = head.bbox_coder.encode(centres, boxes, head.reg_max)
        return clipped
    distances: Tensor = head.bbox_coder.encode(points, boxes)
    return distances


def _over_strides(head: HostModule, levels: Maps) -> list[Tensor]:
    strides = head.prior_generator.strides
    return [item / stride[0] for item, stride in zip(levels, strides, strict=True)]


def _priors(head: HostModule, maps: Maps) -> list[Tensor]:
    """Anchors (N, H W A, 4), or points (N, H W, 2), a level: in each image the same."""
    grids = head.prior_generator.grid_priors(
        [item.shape[2:] for item in maps], device=maps[0].device
    )
    return [grid.expand(len(maps[0]), *grid.shape) for grid in grids]
