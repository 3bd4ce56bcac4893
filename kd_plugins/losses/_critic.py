"""The critic of holistic distillation, which scores a map of classes."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_SCORED_SIDE = 4  # of the feature that the last convolution reads
_WITH_ATTENTION = 2  # so many of the last convolutions of stride 2 are followed by it


class Critic(nn.Module):
    """Convolutions of stride 2 with self-attention, of any size and class count.

    Every convolution but the last has spectral normalisation, which keeps the critic
    smooth. Maps with a side below ``4 * 2**num_convs`` are enlarged to it.

    Args:
        channels: of a map, >= 1.
        condition_channels: of the image beside it; 0: there is none.
        base_channels: of the first convolution, >= 2; each further one doubles them.
        num_convs: of stride 2, >= 1; the released code has four, for a side of 65.

    Source: Liu et al., CVPR 2019, https://arxiv.org/abs/1903.04197, section 3.3, and
        its released code (which supports 65x65 alone).
    """

    def __init__(
        self,
        channels: int,
        condition_channels: int = 0,
        base_channels: int = 64,
        num_convs: int = 4,
    ) -> None:
        super().__init__()
        inputs = channels + condition_channels
        widths = [inputs, *(base_channels * 2**number for number in range(num_convs))]
        self.smallest_side = _SCORED_SIDE * 2**num_convs
        blocks: list[nn.Module] = []
        for number, (narrow, wide) in enumerate(pairwise(widths)):
            conv = nn.Conv2d(narrow, wide, kernel_size=4, stride=2, padding=1)
            # Not in place: the penalty's second backward pass needs the input.
            blocks += [spectral_norm(conv), nn.LeakyReLU(0.1)]
            if number >= num_convs - _WITH_ATTENTION:
                blocks.append(SelfAttention(wide))
        self.blocks = nn.Sequential(*blocks)
        self.score = nn.Conv2d(widths[-1], 1, kernel_size=_SCORED_SIDE)

    def forward(self, maps: Tensor, condition: Tensor | None = None) -> Tensor:
        """Score of each image, shape (N,), higher is more like the teacher's.

        Args:
            maps: (N, K, H, W).
            condition: (N, C, H, W), if ``condition_channels`` > 0.
        """
        if condition is not None:
            maps = torch.cat([maps, condition], dim=1)
        height, width = maps.shape[2:]
        scale_factor = self.smallest_side / min(height, width)
        if scale_factor > 1:
            size = [round(side * scale_factor) for side in (height, width)]
            maps = F.interpolate(maps, size, mode='bilinear', align_corners=False)
        scores: Tensor = self.score(self.blocks(maps))
        return scores.mean(dim=(1, 2, 3))


class SelfAttention(nn.Module):
    """Self-attention over the pixels of a map; at first the identity.

    Args:
        channels: of the feature; queries and keys have an eighth of them, at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(channels // 8, 1)
        self.query = nn.Conv2d(channels, narrow, kernel_size=1)
        self.key = nn.Conv2d(channels, narrow, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, feature: Tensor) -> Tensor:
        """The feature (N, C, H, W) plus the attended values."""
        query, key, value = (
            layer(feature).flatten(2) for layer in (self.query, self.key, self.value)
        )
        attention = (query.transpose(1, 2) @ key).softmax(dim=-1)  # (N, HW, HW)
        attended = (value @ attention.transpose(1, 2)).view_as(feature)
        mixed: Tensor = feature + self.gamma * attended
        return mixed
