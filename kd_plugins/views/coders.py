"""Box deltas of one coder said in another."""

from typing import Any

from torch import Tensor

_FIELDS = ('means', 'stds', 'add_ctr_clamp', 'ctr_clamp')


def same_coder(one: Any, other: Any) -> bool:
    """Whether two box coders give the same deltas for the same boxes."""
    return type(one) is type(other) and all(
        _plain(getattr(one, field, None)) == _plain(getattr(other, field, None))
        for field in _FIELDS
    )


def _plain(value: Any) -> Any:
    return tuple(float(item) for item in value) if hasattr(value, '__iter__') else value


def translate(deltas: Tensor, boxes: Tensor, source: Any, target: Any) -> Tensor:
    """Re-encode deltas (R, 4) relative to ``boxes`` (R, 4) from one coder to another."""
    decoded = source.decode(boxes, deltas)
    encoded: Tensor = target.encode(boxes, getattr(decoded, 'tensor', decoded))
    return encoded
