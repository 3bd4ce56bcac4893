"""Detections of student and teacher: which of them match, and do they say the same."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .agreement import binary_divergence
from .calibration import calibration_bins, calibration_error


@dataclass
class Boxes:
    """Detections, or annotations, of one image.

    Attributes:
        boxes: left, top, right and bottom in pixels, shape (R, 4).
        labels: shape (R,).
        scores: shape (R,); of annotations not used.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor

    def above(self, score_thr: float) -> 'Boxes':
        """Those of at least this score, the highest first."""
        order = self.scores.argsort(descending=True, stable=True)
        order = order[self.scores[order] >= score_thr]
        return Boxes(self.boxes[order], self.labels[order], self.scores[order])


def plain_boxes(boxes: Any) -> Tensor:
    """Boxes of the host, in its class for them or not, as a tensor (R, 4)."""
    plain: Tensor = getattr(boxes, 'tensor', boxes)
    return plain.float()


def box_iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union, shape (A, B), of boxes (A, 4) and (B, 4) in pixels.

    Example:
        >>> box_iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]]))
        tensor([[0.3333]])
    """
    start = torch.maximum(one[:, None, :2], other[None, :, :2])
    end = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = (end - start).clamp(min=0).prod(dim=2)
    areas = [
        (item[:, 2:] - item[:, :2]).clamp(min=0).prod(dim=1) for item in (one, other)
    ]
    union = areas[0][:, None] + areas[1] - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(shared))


def match_boxes(ious: Tensor, iou_thr: float = 0.5) -> Tensor:
    """Match greedily, as detections are matched with annotations.

    In the order of the rows, each takes the free column of the largest overlap, if that
    is at least ``iou_thr``.

    Args:
        ious: overlap of each two, rows from the highest score, shape (A, B).
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

    Detections of both models, from a score on, are matched by overlap alone:

    - ``agreement``: share of the matched that have the same label,
    - ``recall`` and ``precision``: shares of the teacher's and of the student's
      detections that are matched,
    - ``kl``: mean binary divergence of the scores, in nats, of the matched with the
      same label (a host's detection holds the score of its one label alone),
    - ``ece_student``, ``ece_teacher``: expected calibration error, a detection being
      right if an annotation of its label is matched.

    What has no value, such as the agreement where nothing matches, has no entry.

    Args:
        score_thr: lowest score of a detection.

    Source: Stanton et al., 2021, https://arxiv.org/abs/2106.05945, for classes;
        the calibration error of detections is that of Kueppers et al., Multivariate
        Confidence Calibration for Object Detection, 2020,
        https://arxiv.org/abs/2004.13546, over the confidence alone.
    """

    def __init__(self, score_thr: float = 0.3) -> None:
        self.score_thr = score_thr
        # Student's boxes, teacher's, matched, of the same label, and their divergence.
        self.sums = torch.zeros(5, dtype=torch.float64)
        self.counted = torch.zeros(2, 3, 10, dtype=torch.float64)

    def tensors(self) -> list[Tensor]:
        """What is added up over processes."""
        return [self.sums, self.counted]

    def add(self, student: Boxes, teacher: Boxes, truth: Boxes | None) -> None:
        """Add an image.

        Args:
            student: its detections.
            teacher: likewise.
            truth: the annotations, where there are.
        """
        own, other = student.above(self.score_thr), teacher.above(self.score_thr)
        match = match_boxes(box_iou(own.boxes, other.boxes))
        rows, columns = (match >= 0).nonzero()[:, 0], match[match >= 0]
        same = own.labels[rows] == other.labels[columns]
        divergence = binary_divergence(
            own.scores[rows[same]], other.scores[columns[same]]
        )
        self.sums += torch.tensor(
            [
                len(own.boxes),
                len(other.boxes),
                len(rows),
                int(same.sum()),
                float(divergence.sum()),
            ],
            dtype=torch.float64,
        )
        if truth is None:
            return
        for counted, found in zip(self.counted, (own, other), strict=True):
            counted += calibration_bins(found.scores, right_boxes(found, truth)).cpu()

    def values(self) -> dict[str, float]:
        """What can be said of all images, by name."""
        own, other, matched, same, divergence = self.sums
        return {
            'agreement': float(same / matched),
            'recall': float(matched / other),
            'precision': float(matched / own),
            'kl': float(divergence / same),
            'ece_student': float(calibration_error(self.counted[0])),
            'ece_teacher': float(calibration_error(self.counted[1])),
        }


def right_boxes(found: Boxes, truth: Boxes, iou_thr: float = 0.5) -> Tensor:
    """Whether an annotation of its label matches each detection, the highest first."""
    ious = box_iou(found.boxes, truth.boxes.to(found.boxes))
    labels = truth.labels.to(found.labels.device)
    ious = ious.masked_fill(found.labels[:, None] != labels, 0.0)
    return match_boxes(ious, iou_thr) >= 0
