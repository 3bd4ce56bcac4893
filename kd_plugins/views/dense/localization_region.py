"""Where a box can be learned beside its positives: the valuable localization region."""

from collections.abc import Sequence

import torch
from torch import Tensor

TOPK, GAMMA = 9, 0.25


def valuable_region(
    anchors: Tensor,
    levels: Sequence[int],
    boxes: Tensor,
    *,
    topk: int = TOPK,
    gamma: float = GAMMA,
) -> Tensor:
    r"""Overlap of the anchors that lie near a box, and not near enough to be positive.

    .. math:: \gamma t_g \le \mathrm{DIoU}(a, g) < t_g, \qquad
        t_g = \mathrm{mean}(\mathrm{IoU}) + \mathrm{std}(\mathrm{IoU})

    over the candidates of a box g, the anchors of each level whose centres are closest
    to its own: the threshold of ATSS. Unlike there, an anchor's centre need not lie in
    the box. As the threshold is one for IoU, and DIoU is smaller, an anchor can be a
    positive and lie in this region too.

    Args:
        anchors: (A, 4), x1 y1 x2 y2 in pixels, level by level.
        levels: how many of them each level has.
        boxes: (G, 4), of the ground truth.
        topk: candidates a level.
        gamma: lower end of the region, as a share of the threshold.

    Returns: (A,), the largest IoU with a box in whose region the anchor lies; 0 for
        anchors in none, and for all of them without boxes.
    Source: Zheng et al., Localization Distillation for Object Detection, CVPR 2022,
        https://arxiv.org/abs/2102.12252, valuable localization region. The released
        code fails for images without boxes.

    Example:
        >>> left = torch.tensor([0.0, 5.0, 100.0])  # of anchors of 10 x 10 pixels
        >>> top = torch.zeros(3)
        >>> anchors = torch.stack([left, top, left + 10, top + 10], dim=1)
        >>> valuable_region(anchors, [3], anchors[:1])
        tensor([0.0000, 0.3333, 0.0000])
    """
    from mmdet.models.task_modules.assigners.atss_assigner import bbox_center_distance
    from mmdet.structures.bbox import bbox_overlaps
    from torchvision.ops import distance_box_iou

    if not len(boxes) or not len(anchors):
        return anchors.new_zeros(len(anchors))
    overlaps = bbox_overlaps(anchors, boxes)  # (A, G)
    distances = bbox_center_distance(boxes, anchors)
    candidates = []
    start = 0
    for count, nearby in zip(levels, distances.split(list(levels)), strict=True):
        nearest = nearby.topk(min(topk, count), dim=0, largest=False).indices
        candidates.append(nearest + start)
        start += count
    of_candidates = overlaps.gather(0, torch.cat(candidates))
    threshold = of_candidates.mean(dim=0) + of_candidates.std(dim=0)  # (G,)
    penalised = distance_box_iou(anchors, boxes)
    inside = (penalised >= gamma * threshold) & (penalised < threshold)
    return torch.where(inside, overlaps, torch.zeros_like(overlaps)).amax(dim=1)
