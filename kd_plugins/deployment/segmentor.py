"""Segmentors: a class for each pixel of the image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..host_types import HostModule
from .metadata import SEGMENTATION
from .preprocessing import Preprocessing


class SegmentorGraph(nn.Module):
    """Images to logits of the image's size, and to classes.

    Args:
        model: a host's segmentor. Its pools are replaced, see :class:`AveragePool`.
    """

    task = SEGMENTATION
    outputs = ('class_map', 'logits')

    def __init__(self, model: HostModule, dynamic: bool) -> None:
        super().__init__()
        self.preprocessing = Preprocessing(model.data_preprocessor, dynamic)
        self.model = model
        for block in list(model.modules()):
            for name, child in block.named_children():
                if type(child) is nn.AdaptiveAvgPool2d:
                    block._modules[name] = AveragePool(child)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Classes (N, H, W), int64, and logits (N, K, H, W).

        Args:
            image: as :class:`~.preprocessing.InputFormat` says.
        """
        inputs = self.preprocessing(image)
        size = self.preprocessing.size_of(inputs)
        meta = {'ori_shape': size, 'img_shape': size, 'pad_shape': size}
        logits = self.model.inference(inputs, [meta])
        height, width = self.preprocessing.size_of(image)
        logits = logits[:, :, :height, :width]
        if logits.shape[1] > 1:
            return logits.argmax(dim=1), logits
        threshold = self.model.decode_head.threshold
        return (logits.sigmoid() > threshold).squeeze(1).long(), logits

    def free_axes(self) -> dict[str, dict[int, str]]:
        """Names of the axes whose length may be any.

        Raises: ConfigError for a segmentor that looks at windows of an image.
        """
        if self.model.test_cfg.get('mode') == 'slide':
            raise ConfigError(
                "of a segmentor with test_cfg.mode='slide' the number of windows is "
                'part of the graph: leave out --dynamic, and give the --size of the '
                "images; or test with mode='whole'."
            )
        sides = {2: 'height', 3: 'width'}
        return {
            'image': {0: 'batch', **sides},
            'class_map': {0: 'batch', 1: 'height', 2: 'width'},
            'logits': {0: 'batch', **sides},
        }


class AveragePool(nn.Module):
    """Adaptive average pooling by two matrices of weights.

    Exporters know adaptive pooling only where the sides are multiples of its own; a
    pyramid of pools of 1, 2, 3 and 6 is none of a map of 16.

    Args:
        pool: what it replaces.
    """

    def __init__(self, pool: nn.AdaptiveAvgPool2d) -> None:
        super().__init__()
        size = pool.output_size
        height, width = size if isinstance(size, tuple) else (size, size)
        self.output_size: tuple[int | None, int | None] = (height, width)

    def forward(self, feature: Tensor) -> Tensor:
        """Means (N, C, h, w) of a feature (N, C, H, W)."""
        height, width = self.output_size
        if (height, width) == (1, 1):
            return feature.mean(dim=(2, 3), keepdim=True)
        if width is not None:
            feature = feature @ _weights(feature, 3, width)
        if height is not None:
            feature = _weights(feature, 2, height).T @ feature
        return feature


def _weights(feature: Tensor, dim: int, number: int) -> Tensor:
    """Weights (side, number) of each pixel along one side in each mean.

    Mean i reaches from the pixel i * side // number to the one before
    -(-(i + 1) * side // number), as in torch.
    """
    side = feature.shape[dim]
    pixels = torch.arange(side, device=feature.device)[:, None]
    means = torch.arange(number, device=feature.device)[None]
    inside = (pixels * number < (means + 1) * side) & (
        (pixels + 1) * number > means * side
    )
    return F.normalize(inside.to(feature), p=1, dim=0)
