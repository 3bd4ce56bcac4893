"""RoIs and pixels with class labels: checks, random samples, values in blocks."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kd_plugins.checks import check_same_size
from kd_plugins.errors import ShapeError
from kd_plugins.losses._queues import draw


def check_same_samples(
    student: Tensor, teacher: Tensor, channels: Sequence[int | None]
) -> None:
    """Refuse tensors of different samples, or of other channels than configured.

    Args:
        student: shape (R, C) or (N, C, H, W).
        teacher: same shape, except for the channels.
        channels: of both, as configured; None allows any.

    Raises: ShapeError that names the key to change.
    """
    shapes = [tuple(student.shape), tuple(teacher.shape)]
    if student.dim() != 2:
        check_same_size(student, teacher)
    elif teacher.dim() != 2 or len(student) != len(teacher):
        raise ShapeError(
            f'student {shapes[0]} and teacher {shapes[1]} must be rows (R, C) of the '
            'same samples in the same order, or maps (N, C, H, W); their channels may '
            'differ.'
        )
    names = ('student', 'teacher')
    for name, shape, expected in zip(names, shapes, channels, strict=True):
        if expected not in (None, shape[1]):
            raise ShapeError(
                f'{name} {shape} has {shape[1]} channels, not {expected}. Set '
                f'{name}_channels={shape[1]} in this loss.'
            )


def read_labels(
    target: Tensor | None, mask: Tensor | None, size: Sequence[int], num_classes: int
) -> tuple[Tensor, Tensor]:
    """Class labels, and the mask of the rows or pixels that have one.

    Args:
        target: labels; a value outside 0..K-1 (255, a background of K) is no label.
        mask: 1 keeps and 0 drops; default all.
        size: shape that both must have: (R,) or (N, H, W).
        num_classes: K.

    Returns: labels, 0 where there is none, and bool, True where there is one.
    Raises: ShapeError for another shape of either, and without target.
    """
    size = tuple(size)
    if target is None or target.shape != size:
        shape = 'none' if target is None else tuple(target.shape)
        raise ShapeError(
            f'a memory of classes needs labels {size} as target, got {shape}. Use a '
            "view that gives labels, such as 'seg.logits' or 'roi.logits'."
        )
    valid = (target >= 0) & (target < num_classes)
    if mask is not None:
        if mask.shape != size:
            unit = 'row' if len(size) == 1 else 'pixel'
            raise ShapeError(
                f'mask must be {size}, one number per {unit}, got {tuple(mask.shape)}.'
            )
        valid = valid & (mask > 0)
    return target.long().masked_fill(~valid, 0), valid


def sample_pixels(valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Random valid pixels of each image, and their weights.

    Args:
        valid: bool, shape (N, H, W).
        count: pixels of an image, at most.

    Returns: indices (N, P), P = min(count, H W), and weights (N P,). The weights of an
        image sum to the number of its valid pixels: a weighted sum over the sample
        estimates the sum over all valid pixels.
    """
    index, kept = draw(valid.flatten(1), count)
    share = valid.flatten(1).sum(1) / kept.sum(1).clamp(min=1)
    return index, (kept * share[:, None]).flatten()


def rows_at(maps: Tensor, index: Tensor) -> Tensor:
    """Rows (N P, C) of maps (N, C, H, W) at the pixels ``index`` (N, P)."""
    pixels = index[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, pixels).transpose(1, 2).flatten(0, 1)


def by_blocks(
    function: Callable[..., Tensor], rows: Sequence[Tensor], block: int
) -> Tensor:
    """One value a row, computed in blocks of rows to bound the memory.

    Args:
        function: from rows to one value each. With more than one block it is called
            once more in the backward pass.
        rows: tensors with the same number of rows.
        block: rows of a block.
    """
    count = len(rows[0])
    if count <= block:
        return function(*rows)
    # Not above: with it torch imports sympy, which takes a quarter of a second.
    from torch.utils.checkpoint import checkpoint

    blocks = [
        checkpoint(
            function,
            *(item[start : start + block] for item in rows),
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for start in range(0, count, block)
    ]
    return torch.cat(blocks)
