"""What the student's own assigner made of the points or anchors of a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import DistillationError


def assigned_weights(
    head: Any, results: Sequence[Any], images: int, priors: int, view: str
) -> tuple[Tensor, Tensor]:
    """Weight of each point or anchor in the class loss, and how many are positive.

    Args:
        head: of the student: GFL, RetinaNet, FCOS or ATSS.
        results: what its ``get_targets`` gave, call by call.
        images: of the batch.
        priors: points or anchors of all levels of an image.
        view: which asks, for messages.

    Returns: (N, A), 0 where the host does not judge, of anchors on the padding; and the
        positives of the batch, a scalar, of which an image has one at least, as the
        host counts.
    Raises: DistillationError if it was not called, or gave something else.
    """
    from mmdet.models.dense_heads import FCOSHead, RetinaHead

    if not results:
        raise DistillationError(
            "the student's bbox_head did not compute targets by 'get_targets' while it "
            f"computed its losses, so '{view}' does not know what to weigh."
        )
    result = results[-1]
    if isinstance(head, FCOSHead):  # a level at a time, the images one after another
        labels = [level.reshape(images, -1) for level in result[0]]
        weights = [torch.ones_like(level, dtype=torch.float) for level in labels]
    else:
        start = 0 if isinstance(head, RetinaHead) else 1  # behind the anchors
        labels, weights = result[start : start + 2]
    for levels in (labels, weights):
        shapes = [tuple(level.shape) for level in levels]
        if (
            any(len(shape) != 2 or shape[0] != images for shape in shapes)
            or sum(shape[1] for shape in shapes) != priors
        ):
            raise DistillationError(
                f"'get_targets' of {type(head).__name__} gave {shapes}, where "
                f"({images}, ...) a level were expected, {priors} in all: '{view}' "
                "cannot read what it assigned. Use 'head.logits'."
            )
    label = torch.cat(list(labels), dim=1)
    positive = (label >= 0) & (label < head.num_classes)
    count = positive.sum(dim=1).clamp(min=1).sum()
    return torch.cat(list(weights), dim=1).float(), count.float()
