"""Weights in buckets, each scaled to [0, 1] by its least and its largest."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 1e-10  # span of a bucket of one value


@dataclass(frozen=True)
class Buckets:
    """Scaled weights, and how they are scaled back.

    Attributes:
        scaled: (buckets, bucket_size), 0 to 1.
        span: (buckets, 1), largest less least; 1 where these are equal.
        least: (buckets, 1).
        shape: of the weights.
    """

    scaled: Tensor
    span: Tensor
    least: Tensor
    shape: torch.Size

    def back(self, scaled: Tensor) -> Tensor:
        """Weights, (buckets, bucket_size) scaled, in their own shape and range."""
        flat = (scaled * self.span + self.least).flatten()
        return flat[: self.shape.numel()].view(self.shape)


def in_buckets(weight: Tensor, bucket_size: int | None) -> Buckets:
    """Scale weights bucket by bucket; the last one is filled up with its last value.

    Args:
        weight: any shape; neighbours in memory share a bucket.
        bucket_size: weights of one; None: all in one.
    """
    flat = weight.detach().flatten()
    size = bucket_size or len(flat)
    missing = -len(flat) % size
    if missing:
        flat = F.pad(flat, (0, missing), value=float(flat[-1]))
    rows = flat.view(-1, size)
    least, largest = rows.aminmax(dim=1, keepdim=True)
    span = largest - least
    span = torch.where(span < _SMALLEST, torch.ones_like(span), span)
    return Buckets((rows - least) / span, span, least, weight.shape)
