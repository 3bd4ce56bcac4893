"""An image of the size that a model's config prepares, where any will do."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from ..engine.opening import first_batch, make_ready
from ..errors import ConfigError

_DIVISOR = 32  # of an image's sides, as detectors are padded


def noise_images(cfg: Config, shape: Sequence[int] | None = None) -> Tensor:
    """Noise of the size of an image, (1, 3, H, W), the same each time.

    Args:
        cfg: of a model; says the size, if only by its test data.
        shape: height and width instead.

    Raises: ConfigError for a size below that of a feature.
    """
    height, width = _size(cfg) if shape is None else shape
    if min(height, width) < _DIVISOR:
        raise ConfigError(
            f'must be at least {_DIVISOR} pixels, got {height} {width}.', 'shape'
        )
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, height, width, generator=generator)


def _size(cfg: Config) -> tuple[int, int]:
    """Height and width of an image, as the model sees it."""
    preprocessor = cfg.model.get('data_preprocessor') or {}
    size = preprocessor.get('size') or _scale(cfg)
    if size is None:
        make_ready(cfg)
        images = first_batch(cfg)['inputs']
        size = tuple(images[0].shape[-2:])
    height, width = (-(-int(side) // _DIVISOR) * _DIVISOR for side in size)
    return height, width


def _scale(cfg: Config) -> tuple[int, int] | None:
    """Height and width to which the test data are resized; None where they are not."""
    dataset: Mapping[str, Any] = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    for step in dataset.get('pipeline') or ():
        scale = step.get('scale')
        if str(step.get('type')).endswith('Resize') and isinstance(
            scale, (list, tuple)
        ):
            return scale[1], scale[0]
    return None
