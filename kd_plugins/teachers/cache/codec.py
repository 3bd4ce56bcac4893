"""How a tensor of one image is written as bytes, always as many, and read again."""

from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from ...errors import DistillationError

# Least probability of a class: half precision knows none that is smaller.
_LEAST = 1e-8


@dataclass(frozen=True)
class Layout:
    """A tensor of one image, and its bytes.

    Attributes:
        shape: without the batch's dimension.
        dtype: as the teacher gives it, and as it is read again.
        stored: type of its bytes.
        classes: how many classes of a class map (K, H, W) are stored, with their
            probabilities; None: all numbers are.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    stored: torch.dtype
    classes: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of one record."""
        if self.classes is None:
            return prod(self.shape) * self.stored.itemsize
        pixels = prod(self.shape[1:])
        number = self.classes * _index_type(self.shape[0]).itemsize
        return pixels * (number + (self.classes + 1) * self.stored.itemsize)

    def encode(self, rows: Tensor) -> Tensor:
        """Bytes (M, nbytes), on the CPU, of rows (M, *shape).

        Raises: DistillationError for numbers that half precision cannot hold.
        """
        if self.classes is not None:
            return _encode_classes(rows, self.classes, self.stored)
        stored = rows.to(self.stored)
        larger = self.stored != self.dtype and not bool(stored.isfinite().all())
        if larger and bool(rows.isfinite().all()):
            raise DistillationError(
                f'a feature of the teacher, {float(rows.abs().max()):.3g}, is larger '
                "than float16 can hold. Set dtype='float32' in the teacher's cache."
            )
        return _bytes(stored).cpu()

    def decode(self, content: Tensor) -> Tensor:
        """Rows (M, *shape) of bytes (M, nbytes), on their device."""
        if self.classes is not None:
            return _decode_classes(content, self)
        rows = content.view(self.stored).reshape(-1, *self.shape)
        return rows.to(self.dtype)

    def difference(self, stored: Tensor, computed: Tensor) -> float:
        """How far two tensors of an image are apart; 0 for the same.

        The largest difference over the largest value; of class maps that of the
        probabilities.
        """
        first, second = (item.double() for item in (stored, computed))
        scale = 1.0
        if self.classes is not None:
            first, second = first.softmax(0), second.softmax(0)
        else:
            scale = max(float(second.abs().max()), torch.finfo(torch.float32).tiny)
        difference = float((first - second).abs().max()) / scale
        return difference if difference == difference else float('inf')

    def describe(self) -> str:
        """Shape and precision, for messages.

        Example:
            >>> Layout((19, 64, 64), torch.float32, torch.float16, 4).describe()
            '4 of 19 classes x 64 x 64'
            >>> Layout((256, 64, 64), torch.float32, torch.float16).describe()
            '256 x 64 x 64 float16'
        """
        sides = [str(side) for side in self.shape]
        if self.classes is not None:
            return (
                f'{self.classes} of {" x ".join([f"{sides[0]} classes", *sides[1:]])}'
            )
        return f'{" x ".join(sides)} {_name(self.stored)}'

    def as_dict(self) -> dict[str, Any]:
        """As a manifest holds it."""
        content = asdict(self)
        content.update(
            shape=list(self.shape), dtype=_name(self.dtype), stored=_name(self.stored)
        )
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> 'Layout':
        """Read what :meth:`as_dict` gave."""
        dtype, stored = (getattr(torch, content[key]) for key in ('dtype', 'stored'))
        return cls(tuple(content['shape']), dtype, stored, content['classes'])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _index_type(classes: int) -> torch.dtype:
    return torch.uint8 if classes <= 256 else torch.int16


def _bytes(rows: Tensor) -> Tensor:
    flat = rows.contiguous().reshape(len(rows), -1)
    return flat.view(torch.uint8)


def _encode_classes(rows: Tensor, classes: int, stored: torch.dtype) -> Tensor:
    probs = rows.float().softmax(dim=1)
    best, indices = probs.topk(classes, dim=1)
    # Not 1 minus the others: where one class is certain that would be rounding alone.
    rest = probs.scatter(1, indices, 0.0).sum(dim=1, keepdim=True)
    numbers = torch.cat([best, rest], dim=1).to(stored)
    indices = indices.to(_index_type(rows.shape[1]))
    return torch.cat([_bytes(numbers), _bytes(indices)], dim=1).cpu()


def _decode_classes(content: Tensor, layout: Layout) -> Tensor:
    assert layout.classes is not None
    kept, (number, *size) = layout.classes, layout.shape
    split = (kept + 1) * prod(size) * layout.stored.itemsize
    # Flat first: a single row of an odd number of bytes cannot be viewed as it is.
    numbers = content[:, :split].reshape(-1).view(layout.stored)
    numbers = numbers.reshape(-1, kept + 1, *size).float()
    indices = content[:, split:].reshape(-1).view(_index_type(number))
    indices = indices.reshape(-1, kept, *size).long()
    each = numbers[:, kept:] / max(number - kept, 1)
    probs = each.repeat(1, number, *[1] * len(size)).scatter(
        1, indices, numbers[:, :kept]
    )
    probs = probs / probs.sum(dim=1, keepdim=True)
    return probs.clamp(min=_LEAST).log().to(layout.dtype)
