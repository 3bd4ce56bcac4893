"""Box deltas of one coder said in another."""

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_FIELDS = ('means', 'stds', 'add_ctr_clamp', 'ctr_clamp')
# What the host's decoding allows a box's sides to grow or shrink by.
_LARGEST_RATIO = abs(math.log(16 / 1000))


def same_coder(one: Any, other: Any) -> bool:
    """Whether two box coders give the same deltas for the same boxes."""
    return type(one) is type(other) and all(
        _plain(getattr(one, field, None)) == _plain(getattr(other, field, None))
        for field in _FIELDS
    )


def _plain(value: Any) -> Any:
    return tuple(float(item) for item in value) if hasattr(value, '__iter__') else value


def translate(deltas: Tensor, boxes: Tensor, source: Any, target: Any) -> Tensor:
    """Re-encode deltas (R, 4) of ``boxes`` (R, 4) from one coder to another."""
    from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder

    if type(source) is type(target) is DeltaXYWHBBoxCoder and not source.add_ctr_clamp:
        # Without the boxes: no rounding at large ones, no logarithm of empty ones.
        plain = deltas * _row(source.stds, deltas) + _row(source.means, deltas)
        sides = plain[:, 2:].clamp(-_LARGEST_RATIO, _LARGEST_RATIO)
        plain = torch.cat([plain[:, :2], sides], dim=1)
        return (plain - _row(target.means, deltas)) / _row(target.stds, deltas)
    decoded = source.decode(boxes, deltas)
    encoded: Tensor = target.encode(boxes, getattr(decoded, 'tensor', decoded))
    return encoded


def _row(values: Any, like: Tensor) -> Tensor:
    return _constant(tuple(map(float, values)), like.dtype, like.device)


@lru_cache(maxsize=64)  # a copy to the device at every step would wait for it
def _constant(
    values: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)
