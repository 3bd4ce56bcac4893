"""Mixup of a batch: which images, how much of each, and the boxes of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ..datasets.pseudo_labels import WEIGHTS


@dataclass(frozen=True)
class Mix:
    """What becomes of one image of a batch.

    Attributes:
        partner: number of the second image.
        weight: lambda, of the first; 1 where it is not mixed.
    """

    partner: int
    weight: float


def draw_mixes(
    draw: np.random.Generator, number: int, alpha: float, share: float
) -> list[Mix]:
    """Choose for each image of a batch its partner, and how much of it is seen.

    Args:
        draw: source of the numbers.
        number: of the images.
        alpha: of the Beta distribution.
        share: expected share of the images that are mixed, of each batch as many as
            of another or one more. None is its own partner: each is followed by the
            next of a random order.
    """
    order = draw.permutation(number).tolist()
    partners = dict(zip(order, order[1:] + order[:1], strict=True))
    weights = draw.beta(alpha, alpha, number).tolist()
    mixed = int(share * number + draw.random()) if number > 1 else 0
    chosen = set(draw.permutation(number)[:mixed].tolist())
    return [
        Mix(partners[at], weights[at]) if at in chosen else Mix(at, 1.0)
        for at in range(number)
    ]


def mixed_image(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Lambda of the first image and the rest of the second, where that one reaches.

    Args:
        first: shape (C, H, W).
        second: shape (C, H', W').
        weight: lambda, 0 to 1.

    Returns: as the first; float32 of whole numbers, unless lambda is 1.

    Example:
        >>> one, two = torch.full((1, 1, 2), 8.0), torch.full((1, 3, 1), 4.0)
        >>> mixed_image(one, two, 0.25)
        tensor([[[5., 8.]]])
    """
    if weight == 1:
        return first
    mixed = first.float() if not first.is_floating_point() else first.clone()
    height, width = shared_size(first, second)
    part, other = (each[:, :height, :width] for each in (mixed, second))
    mixed[:, :height, :width] = weight * part + (1 - weight) * other
    return mixed


def shared_size(first: Tensor, second: Tensor) -> tuple[int, int]:
    """Height and width of what two images (C, H, W) both reach."""
    height, width = map(min, first.shape[1:], second.shape[1:])
    return height, width


def joined_boxes(
    mix: Mix,
    at: int,
    sizes: Sequence[Sequence[int]],
    instances: Sequence[Any],
    weigh: bool,
) -> Any:
    """Boxes of both images, with weights; those of the second within the first.

    Args:
        mix: of the image.
        at: its number.
        sizes: height and width of each image of the batch.
        instances: annotations of each; what ``weights`` say is multiplied.
        weigh: whether each counts by how much of its image is seen; otherwise in full.
    """
    shares = (mix.weight, 1 - mix.weight) if weigh else (1.0, 1.0)
    first = _weighed(instances[at], shares[0])
    if mix.weight == 1:
        return first
    second = _weighed(instances[mix.partner], shares[1])
    return joined(first, second, sizes[at])


def joined(first: Any, second: Any, size: Sequence[int]) -> Any:
    """Boxes of two images in one, those of the second within its height and width."""
    return InstanceData.cat([first, _within(second, size)])


def _weighed(instances: Any, share: float) -> Any:
    weighed = instances.new()
    weighed[WEIGHTS] = share * weighed.get(WEIGHTS, torch.ones(len(weighed)))
    return weighed


def _within(instances: Any, size: Sequence[int]) -> Any:
    """Boxes clipped to a height and width; those without an area left out."""
    instances = instances.new()
    boxes = instances.bboxes
    if isinstance(boxes, Tensor):
        boxes = boxes.clone()
        boxes[:, 0::2] = boxes[:, 0::2].clamp(0, size[1])
        boxes[:, 1::2] = boxes[:, 1::2].clamp(0, size[0])
        corners = boxes
    else:  # mmdet's own type
        boxes = boxes.clone()
        boxes.clip_(tuple(size))
        corners = boxes.tensor
    instances.bboxes = boxes
    sides = corners[:, 2:] - corners[:, :2]
    return instances[(sides > 0).all(dim=1)]
