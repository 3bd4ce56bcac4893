"""The objects of a batch, and the pixels of a feature map that they cover."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_plugins.errors import ShapeError
from kd_plugins.losses._base import LossContext


def focal_masks(
    boxes: Sequence[Tensor], input_size: Sequence[int], map_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Weights of the foreground pixels of feature maps, and of the background pixels.

    A pixel of a box weighs 1 / (number of the box's pixels): small boxes weigh as much
    as large ones. Where boxes overlap, the largest weight holds. The background pixels
    of an image share 1. A box covers the pixels from the one that holds its first edge
    to the one behind its last edge, within the map.

    Args:
        boxes: of each image, shape (n, 4): left, top, right, bottom, in pixels of the
            input.
        input_size: height and width of the padded input that the map covers.
        map_size: height and width of the map.

    Returns: two weight maps, shape (N, H, W); of each pixel one of the two is 0.
    Source: as for :func:`focal_distance`. The released code scales boxes by the image
        without its padding, which shifts them off the objects; here padding counts.

    Example:
        >>> import torch
        >>> box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
        >>> focal_masks([box], (32, 32), (4, 4))[0][0, :3, :3]
        tensor([[0.2500, 0.2500, 0.0000],
                [0.2500, 0.2500, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    if len(boxes) == 0:  # no images
        nothing = torch.zeros(0, *map_size)
        return nothing, nothing
    foreground = torch.stack(
        [_foreground(item, input_size, map_size) for item in boxes]
    )
    background = (foreground == 0).to(foreground)
    count = background.sum(dim=(1, 2), keepdim=True)
    return foreground, background / count.clamp(min=1)


def _foreground(
    boxes: Tensor, input_size: Sequence[int], map_size: Sequence[int]
) -> Tensor:
    if len(boxes) == 0:
        return boxes.new_zeros(tuple(map_size))
    rows = _covered(boxes[:, 1::2], input_size[0], map_size[0])
    columns = _covered(boxes[:, 0::2], input_size[1], map_size[1])
    share = 1 / (rows.sum(dim=1) * columns.sum(dim=1)).clamp(min=1)  # (n,)
    rows = rows * share[:, None]
    return (rows[:, :, None] * columns[:, None, :]).amax(dim=0)


def _covered(edges: Tensor, input_side: int, map_side: int) -> Tensor:
    """Rows or columns of the map between two edges (n, 2), shape (n, map_side)."""
    # One factor, exact for strides of 2^k: a rounding error would cost a pixel.
    scaled = edges * (map_side / input_side)
    first, last = scaled[:, :1].floor(), scaled[:, 1:].ceil()
    numbers = torch.arange(map_side, device=edges.device)
    return ((numbers >= first) & (numbers <= last)).to(edges)


def boxes_of(
    context: LossContext | None, images: int
) -> tuple[list[Tensor], Sequence[int]]:
    """Boxes of each image, and height and width of the input.

    Raises: ShapeError if the context has none.
    """
    if context is None or context.step.inputs is None:
        raise ShapeError(
            'FGDLoss needs the boxes of the images and the size of the input, and was '
            'called without context.step.samples and context.step.inputs.'
        )
    samples = context.step.samples
    if not samples:  # a dry run: images without objects
        return [torch.zeros(0, 4)] * images, context.step.inputs.shape[-2:]
    return [_boxes(sample) for sample in samples], context.step.inputs.shape[-2:]


def _boxes(sample: object) -> Tensor:
    instances = getattr(sample, 'gt_instances', None)
    boxes = getattr(instances, 'bboxes', None)
    boxes = getattr(boxes, 'tensor', boxes)  # out of the host's box type
    if not isinstance(boxes, Tensor) or boxes.dim() != 2 or boxes.shape[1] != 4:
        shape = tuple(boxes.shape) if isinstance(boxes, Tensor) else 'none'
        raise ShapeError(
            'FGDLoss needs gt_instances.bboxes (n, 4) of every image, and a '
            f'{type(sample).__name__} has {shape}. Use it with a detector, or choose '
            'a loss without boxes, such as MGDLoss.'
        )
    return boxes
