"""Images of a host's test pipeline as an exported file wants them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..host_types import DataSample
from .metadata import SEGMENTATION, Metadata


def single_images(data: Mapping[str, Any]) -> list[tuple[Tensor, DataSample]]:
    """Images (C, H, W) and data samples of a batch, as the host's loader gives it."""
    return list(zip(data['inputs'], data['data_samples'], strict=True))


def fitted(image: Tensor, sample: DataSample, metadata: Metadata) -> Tensor:
    """An image as large as a file wants it: a smaller one of a detector is padded.

    The padding is what the network sees as ``pad_value``, and counts as part of the
    image: ``img_shape`` of the sample becomes the file's size.

    Args:
        image: (C, H, W), as loaded.
        sample: of the image; changed.
        metadata: of the file.

    Raises: ConfigError for an image that does not fit.
    """
    size = metadata.size
    height, width = image.shape[1:]
    if size is None or [height, width] == size:
        return image
    segments = metadata.task == SEGMENTATION
    if segments or height > size[0] or width > size[1]:
        larger = 'another size' if segments else 'a larger size'
        raise ConfigError(
            f'the test pipeline gives an image of {height}x{width}, {larger} than the '
            f"file's {size[0]}x{size[1]}. Export with --dynamic, with a --size that "
            'all images fit in, or with a pipeline that gives one size.'
        )
    pixel = pad_pixel(metadata)
    if metadata.colour_order == 'RGB':  # loaded as BGR
        pixel = pixel.flip(0)
    padded = pixel[:, None, None].expand(image.shape[0], *size).clone()
    padded[:, :height, :width] = image
    sample.set_metainfo({'img_shape': tuple(size)})
    return padded


def pad_pixel(metadata: Metadata) -> Tensor:
    """The pixel (C,) that the network sees as the padding's value."""
    mean, std = torch.tensor(metadata.mean), torch.tensor(metadata.std)
    return mean + metadata.pad_value * std


def as_input(images: Sequence[Tensor], metadata: Metadata) -> Tensor:
    """A batch (N, C, H, W) for a file, of images (C, H, W) as loaded: by OpenCV."""
    batch = torch.stack([image.float() for image in images])
    return batch.flip(1) if metadata.colour_order == 'RGB' else batch


def cut(item: Mapping[str, Any]) -> dict[str, Any]:
    """Of an image the upper left part, another size to try a file with.

    Its sides are multiples of 32, where there are as many pixels: of RTMDet and others
    it is the pipeline that pads.

    Args:
        item: as a data set gives it.
    """
    image, sample = item['inputs'], copy.deepcopy(item['data_samples'])
    height, width = image.shape[1:]
    height, width = height * 3 // 4, width * 2 // 3
    height, width = height // 32 * 32 or height, width // 32 * 32 or width
    image = image[:, :height, :width]
    size = tuple(image.shape[1:])
    sample.set_metainfo({'img_shape': size, 'ori_shape': size})
    return {'inputs': image.contiguous(), 'data_samples': sample}
