"""Probabilities of pixels as labels, or as the few classes that are probable."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ShapeError

IGNORED = 255


def label_map(probs: Tensor, threshold: float) -> Tensor:
    """The most probable class of each pixel, where it is probable enough.

    Args:
        probs: shape (K, H, W), K at most 255, sums of 1 over K.
        threshold: pixels whose highest probability is below it get 255, the label that
            segmentors ignore. 0 keeps every pixel, more than 1 none.

    Returns: uint8, shape (H, W).
    Raises: ShapeError for another shape, or more classes.

    Example:
        >>> label_map(torch.tensor([[[0.75, 0.5]], [[0.25, 0.5]]]), 0.6)
        tensor([[  0, 255]], dtype=torch.uint8)
    """
    if probs.dim() != 3 or len(probs) > IGNORED:
        raise ShapeError(
            f'probs must be (K, H, W), K at most {IGNORED}, got {tuple(probs.shape)}.'
        )
    highest, labels = probs.max(dim=0)
    return labels.masked_fill(highest < threshold, IGNORED).to(torch.uint8)


def most_probable(probs: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The most probable classes of each pixel, in order, and their probabilities.

    Args:
        probs: as of :func:`label_map`.
        number: k, of the classes, 1 to K.

    Returns: classes, uint8 (k, H, W), and probabilities, float16 (k, H, W).
    Raises: ShapeError for more classes than there are.
    """
    if number > len(probs):
        raise ShapeError(f'{number} of {len(probs)} classes cannot be kept.')
    values, classes = probs.topk(number, dim=0)
    return classes.to(torch.uint8), values.half()


def read_soft_labels(path: str | Path, num_classes: int) -> Tensor:
    """What a file of soft labels holds, as probabilities.

    Args:
        path: of an ``.npz`` file with ``classes`` and ``probs`` (k, H, W).
        num_classes: K.

    Returns: float32, shape (K, H, W); what the k classes leave of 1 is spread evenly
        over the others.
    """
    with np.load(path) as content:
        classes = torch.from_numpy(content['classes'].astype(np.int64))
        values = torch.from_numpy(content['probs'].astype(np.float32))
    left = (1 - values.sum(0, keepdim=True)).clamp(min=0)
    others = num_classes - len(classes)
    probs = (left / max(others, 1)).expand(num_classes, -1, -1).clone()
    return probs.scatter_(0, classes, values)
