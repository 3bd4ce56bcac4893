"""Boxes of several detectors, or of several views of an image, as one set."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from ...errors import ShapeError

Boxes = tuple[Tensor, Tensor, Tensor]


def weighted_box_fusion(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    *,
    sources: int,
    iou_threshold: float = 0.55,
) -> Boxes:
    r"""Boxes of one class that overlap, as their mean, weighed by the scores.

    In the order of their scores, each joins the fused box of its class that it overlaps
    most, or begins one. Of a fused box of T boxes, by N sources,

    .. math:: b = \frac{\sum_i s_i b_i}{\sum_i s_i}, \qquad
        s = \frac{1}{T} \sum_i s_i \cdot \frac{\min(T, N)}{N}

    so that what few of the sources see counts less.

    Args:
        boxes: of all sources, shape (B, 4), corners in pixels.
        scores: shape (B,), >= 0.
        labels: shape (B,), whole numbers.
        sources: N, how many detectors and views they are of, >= 1.
        iou_threshold: least intersection over union of what is the same box, 0 to 1.

    Returns: boxes (F, 4), scores (F,), the highest first, and labels (F,).
    Raises: ShapeError for shapes that do not belong together.
    Source: Solovyev et al., Weighted boxes fusion: Ensembling boxes from different
        object detection models, 2021, https://arxiv.org/abs/1910.13302.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 14.0]])
        >>> scores, labels = torch.tensor([0.75, 0.25]), torch.tensor([1, 1])
        >>> weighted_box_fusion(boxes, scores, labels, sources=2)
        (tensor([[ 0.,  0., 10., 11.]]), tensor([0.5000]), tensor([1]))
    """
    _check(boxes, scores, labels)
    members: list[list[int]] = []
    fused = boxes.new_zeros(0, 4)
    kinds = labels.new_zeros(0)
    for number in scores.argsort(descending=True, stable=True).tolist():
        overlap = box_iou(boxes[None, number], fused)[0]
        overlap = overlap.masked_fill(kinds != labels[number], 0.0)
        if len(members) and overlap.max() > iou_threshold:
            cluster = int(overlap.argmax())
            members[cluster].append(number)
            own = members[cluster]
            weights = scores[own].unsqueeze(1)
            fused[cluster] = (weights * boxes[own]).sum(0) / weights.sum()
        else:
            members.append([number])
            fused = torch.cat([fused, boxes[None, number]])
            kinds = torch.cat([kinds, labels[None, number]])
    certain = scores.new_tensor(
        [
            float(scores[own].mean()) * min(len(own), sources) / sources
            for own in members
        ]
    )
    order = certain.argsort(descending=True, stable=True)
    return fused[order], certain[order], kinds[order]


def suppressed(
    boxes: Tensor, scores: Tensor, labels: Tensor, *, iou_threshold: float = 0.55
) -> Boxes:
    """Of boxes of one class that overlap, the one of the highest score.

    Arguments, what is returned and raised: as of :func:`weighted_box_fusion`.
    """
    _check(boxes, scores, labels)
    kept = batched_nms(boxes, scores, labels, iou_threshold)
    return boxes[kept], scores[kept], labels[kept]


def _check(boxes: Tensor, scores: Tensor, labels: Tensor) -> None:
    number = len(boxes)
    if boxes.shape != (number, 4) or not scores.shape == labels.shape == (number,):
        raise ShapeError(
            f'boxes must be (B, 4), scores and labels (B,), got {tuple(boxes.shape)}, '
            f'{tuple(scores.shape)} and {tuple(labels.shape)}.'
        )
