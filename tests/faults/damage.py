"""Files that a disk or a copy has damaged: cut short, or with one bit flipped."""

import random
from collections.abc import Iterator

from torch import Tensor


def truncated(content: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """The content without its end: all of it, its last byte, and random lengths."""
    rng = random.Random(seed)
    lengths = [0, len(content) - 1]
    lengths += [rng.randrange(1, len(content) - 1) for _ in range(number - 2)]
    for length in lengths:
        yield content[:length]


def flipped(content: bytes, number: int, seed: int = 0) -> Iterator[bytes]:
    """The content with one bit flipped, spread evenly over the file."""
    rng = random.Random(seed)
    for index in range(number):
        low, high = (len(content) * each // number for each in (index, index + 1))
        damaged = bytearray(content)
        damaged[rng.randrange(low, high)] ^= 1 << rng.randrange(8)
        yield bytes(damaged)


def flipped_weight(content: bytes, weight: Tensor) -> bytes:
    """The content of a checkpoint with one bit of one of its weights flipped."""
    damaged = bytearray(content)
    damaged[content.index(weight.numpy().tobytes())] ^= 1
    return bytes(damaged)
