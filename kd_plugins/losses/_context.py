"""Blocks that add to each pixel of a map the context of all; at first 0."""

import torch.nn.functional as F
from torch import Tensor, nn


class ContextBlock(nn.Module):
    """Adds to each pixel the same vector, learned from all pixels; at first 0.

    Args:
        channels: of the feature, >= 2.

    Source: Cao et al., GCNet, 2019, https://arxiv.org/abs/1904.11492.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Without bias: a softmax over the pixels does not see it.
        self.pixels = nn.Conv2d(channels, 1, kernel_size=1, bias=False)
        self.transform = nn.Sequential(
            nn.Linear(channels, channels // 2),
            nn.LayerNorm(channels // 2),
            nn.ReLU(),
            nn.Linear(channels // 2, channels),
        )
        nn.init.kaiming_normal_(self.pixels.weight)
        for parameter in self.transform[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, feature: Tensor) -> Tensor:
        """The feature (N, C, H, W) with its context added."""
        shares = self.pixels(feature).flatten(2).softmax(dim=2)  # (N, 1, HW)
        context = (feature.flatten(2) * shares).sum(dim=2)  # (N, C)
        added: Tensor = feature + self.transform(context)[:, :, None, None]
        return added


class NonLocalBlock(nn.Module):
    """Adds to each pixel a mean of all pixels, weighted by similarity.

    The similarity is a dot product, without softmax. The sums over pixels can then be
    taken in another order, and a map of HW pixels needs no (HW, HW) of memory.

    Args:
        channels: of the feature, >= 1.
        reduction: divides the number of channels that are compared, >= 1.
        pool: side of a square of pixels, >= 1. The maximum of a square is compared with
            every pixel; squares at the lower and right border may be smaller.

    Source: Wang et al., Non-local Neural Networks, 2018,
        https://arxiv.org/abs/1711.07971.
    """

    def __init__(self, channels: int, reduction: int = 2, pool: int = 1) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.pool = pool
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, inner, kernel_size=1)
        self.output = nn.Conv2d(inner, channels, kernel_size=1)
        for name, parameter in self.named_parameters():
            if name.startswith('output') or name.endswith('bias'):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.01)

    def forward(self, feature: Tensor) -> Tensor:
        """The feature (N, C, H, W) plus the weighted mean."""
        query = self.query(feature)
        key, value = (
            F.max_pool2d(layer(feature), self.pool, ceil_mode=True).flatten(2)
            for layer in (self.key, self.value)
        )
        related = key @ value.transpose(1, 2) / key.shape[2]  # (N, inner, inner)
        mixed = related.transpose(1, 2) @ query.flatten(2)
        added: Tensor = feature + self.output(mixed.view_as(query))
        return added
