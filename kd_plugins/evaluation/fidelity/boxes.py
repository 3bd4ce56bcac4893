"""Detections of student and teacher: matching, agreement and calibration."""

from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor

from .agreement import binary_divergence
from .calibration import calibration_bins, calibration_error


@dataclass
class Boxes:
    """Detections, or annotations, of one image.

    Attributes:
        boxes: left, top, right and bottom in pixels, shape (R, 4).
        labels: shape (R,).
        scores: shape (R,); unused for annotations.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor

    def above(self, score_thr: float) -> 'Boxes':
        """The boxes of at least this score, the highest first."""
        order = self.scores.argsort(descending=True, stable=True)
        order = order[self.scores[order] >= score_thr]
        return Boxes(self.boxes[order], self.labels[order], self.scores[order])


def plain_boxes(boxes: Any) -> Tensor:
    """Boxes of the host, a tensor or the host's box type, as a tensor (R, 4)."""
    plain: Tensor = getattr(boxes, 'tensor', boxes)
    return plain.float()


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union, shape (A, B), of boxes (A, 4) and (B, 4) in pixels.

    It is 0 where neither box has an area.

    Example:
        >>> box_iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]]))
        tensor([[0.3333]])
    """
    ious: Tensor = torchvision.ops.box_iou(first, second)
    return ious.nan_to_num(0.0)


def match_boxes(ious: Tensor, iou_thr: float = 0.5) -> Tensor:
    """Match rows with columns greedily, as detections with annotations.

    In the order of the rows, each row takes the free column of the largest overlap, if
    that is at least ``iou_thr``.

    Args:
        ious: overlaps, rows in descending order of the score, shape (A, B).
        iou_thr: from 0, excluded, to 1.

    Returns: the column of each row, -1 for none, shape (A,).

    Example:
        >>> match_boxes(torch.tensor([[0.6, 0.9], [0.0, 0.8], [0.7, 0.0]]))
        tensor([ 1, -1,  0])
    """
    columns = torch.full((len(ious),), -1)
    free = ious.detach().cpu().clone()
    for row in range(len(free) if free.shape[1] else 0):
        best, column = free[row].max(dim=0)
        if best >= iou_thr:
            columns[row] = column
            free[:, column] = -1
    return columns.to(ious.device)


class BoxFidelity:
    """Fidelity and calibration of detections, summed over images.

    Detections of both models with at least ``score_thr`` are matched by overlap only:

    - ``agreement``: share of the matched detections that have the same label,
    - ``recall`` and ``precision``: shares of the teacher's and of the student's
      detections that are matched,
    - ``kl``: mean binary divergence of the scores, in nats, of matched detections with
      the same label (a host's detection has the score of its label only),
    - ``ece_student``, ``ece_teacher``: expected calibration error; a detection is
      correct if an annotation of its label matches it.

    A value without data, such as the agreement without matches, is NaN.

    Args:
        score_thr: lowest score of a detection.

    Source: Stanton et al., 2021, https://arxiv.org/abs/2106.05945, for classes;
        the calibration error of detections is that of Kueppers et al., Multivariate
        Confidence Calibration for Object Detection, 2020,
        https://arxiv.org/abs/2004.13546, over the confidence alone.
    """

    def __init__(self, score_thr: float = 0.3) -> None:
        self.score_thr = score_thr
        # Boxes of the student, of the teacher, matched, of the same label; divergence.
        self.sums = torch.zeros(5, dtype=torch.float64)
        self.counted = torch.zeros(2, 3, 10, dtype=torch.float64)

    def tensors(self) -> list[Tensor]:
        """The sums, to be added up over processes."""
        return [self.sums, self.counted]

    def add(self, student: Boxes, teacher: Boxes, truth: Boxes | None) -> None:
        """Add an image.

        Args:
            student: the student's detections.
            teacher: the teacher's detections.
            truth: the annotations; None: there are none.
        """
        student, teacher = (item.above(self.score_thr) for item in (student, teacher))
        match = match_boxes(box_iou(student.boxes, teacher.boxes))
        rows, columns = (match >= 0).nonzero()[:, 0], match[match >= 0]
        same = student.labels[rows] == teacher.labels[columns]
        divergence = binary_divergence(
            student.scores[rows[same]], teacher.scores[columns[same]]
        )
        self.sums += torch.tensor(
            [
                len(student.boxes),
                len(teacher.boxes),
                len(rows),
                int(same.sum()),
                float(divergence.sum()),
            ],
            dtype=torch.float64,
        )
        if truth is None:
            return
        for counted, boxes in zip(self.counted, (student, teacher), strict=True):
            correct = correct_boxes(boxes, truth)
            counted += calibration_bins(boxes.scores, correct).cpu()

    def values(self) -> dict[str, float]:
        """The values over all images, by name."""
        student, teacher, matched, same, divergence = self.sums
        return {
            'agreement': float(same / matched),
            'recall': float(matched / teacher),
            'precision': float(matched / student),
            'kl': float(divergence / same),
            'ece_student': float(calibration_error(self.counted[0])),
            'ece_teacher': float(calibration_error(self.counted[1])),
        }


def correct_boxes(detections: Boxes, truth: Boxes, iou_thr: float = 0.5) -> Tensor:
    """Whether an annotation of its label matches each detection, the highest first."""
    ious = box_iou(detections.boxes, truth.boxes.to(detections.boxes))
    labels = truth.labels.to(detections.labels.device)
    ious = ious.masked_fill(detections.labels[:, None] != labels, 0.0)
    return match_boxes(ious, iou_thr) >= 0
