"""What a data preprocessor does at test time, as the first layers of a graph."""

from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..host_types import HostModule
from ..teachers.preprocess import (
    Normalisation,
    pad_value_of,
    padded_size,
    size_divisor_of,
)


class InputFormat(NamedTuple):
    """What a graph wants to be given: images (N, C, H, W), float32, of 0 to 255.

    Args:
        colour_order: of the channels: 'RGB', 'BGR' or, of other numbers of channels,
            'as loaded'.
        mean: of each channel; the graph subtracts it.
        std: of each channel; the graph divides by it.
        size_divisor: the graph pads height and width to multiples of it.
        pad_value: with which it pads, after the normalisation.
    """

    colour_order: str
    mean: list[float]
    std: list[float]
    size_divisor: int
    pad_value: float


def input_format(preprocessor: HostModule) -> InputFormat:
    """Of a host's data preprocessor; images are loaded by OpenCV, as BGR."""
    normalisation = Normalisation(preprocessor)
    channels = normalisation.channels
    order = 'RGB' if normalisation.swaps_channels else 'BGR'
    return InputFormat(
        order if channels in (1, 3) else 'as loaded',
        normalisation.mean.tolist(),
        normalisation.std.tolist(),
        _test_divisor(preprocessor),
        pad_value_of(preprocessor),
    )


class Preprocessing(nn.Module):
    """Normalises and pads, as the host's preprocessor does with one image at a test.

    Args:
        preprocessor: of either host.
        dynamic: whether the traced graph is for images of any size; otherwise the
            padding is a constant, and with it the shape of all that follows.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: HostModule, dynamic: bool) -> None:
        super().__init__()
        self.dynamic = dynamic
        normalisation = Normalisation(preprocessor)
        for name in ('mean', 'std'):
            value = getattr(normalisation, name).float().view(1, -1, 1, 1)
            self.register_buffer(name, value)
        self.divisor = _test_divisor(preprocessor)
        self.smallest = tuple(_test_padding(preprocessor).get('size') or (1, 1))
        self.pad_value = pad_value_of(preprocessor)

    def forward(self, image: Tensor) -> Tensor:
        """Inputs of the network (N, C, H', W'), padded below and on the right.

        Args:
            image: (N, C, H, W), in the network's order of channels, 0 to 255.
        """
        normalised = (image - self.mean) / self.std
        height, width = before = self.size_of(image)
        if self.smallest != (1, 1):
            height, width = (
                max(side, least)
                for side, least in zip((height, width), self.smallest, strict=True)
            )
        height, width = padded_size((height, width), self.divisor)
        padding = (0, width - before[1], 0, height - before[0])
        return F.pad(normalised, padding, value=self.pad_value)

    def size_of(self, image: Tensor) -> tuple[int, int]:
        """Height and width of the images, in a trace part of the graph if dynamic."""
        height, width = image.shape[-2:]
        return (height, width) if self.dynamic else (int(height), int(width))


def _test_padding(preprocessor: HostModule) -> dict[str, Any]:
    """Of mmseg: it pads otherwise at a test than in training."""
    return dict(getattr(preprocessor, 'test_cfg', None) or {})


def _test_divisor(preprocessor: HostModule) -> int:
    if hasattr(preprocessor, 'test_cfg'):
        return int(_test_padding(preprocessor).get('size_divisor') or 1)
    return size_divisor_of(preprocessor)
