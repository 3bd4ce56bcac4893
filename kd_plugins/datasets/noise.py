"""Noise on an image, as of a sensor in the dark."""

import zlib
from typing import Any

import numpy as np

from ..checks import check_float, check_optional_int
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class GaussianNoise:
    """Add normal noise to every value of an image.

    Args:
        std: its standard deviation, in the image's own units (0 to 255), >= 0.
        seed: draw it as a function of this and of the image, so that each image has the
            same noise at every validation; None: from numpy's generator.

    Raises: ConfigError for a negative deviation, or another seed.
    """

    def __init__(self, std: float, seed: int | None = None) -> None:
        self.std = check_float('std', std)
        self.seed = check_optional_int('seed', seed, minimum=0)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """The sample with a noisy image of the same type, whole numbers clipped."""
        image = results['img']
        if self.seed is None:
            noise = np.random.normal(0.0, self.std, image.shape)
        else:
            content = zlib.crc32(np.ascontiguousarray(image).data)
            own = np.random.default_rng([self.seed, content])
            noise = own.normal(0.0, self.std, image.shape)
        noisy = image + noise
        if np.issubdtype(image.dtype, np.integer):
            limits = np.iinfo(image.dtype)
            noisy = noisy.round().clip(limits.min, limits.max)
        results['img'] = noisy.astype(image.dtype)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(std={self.std:g}, seed={self.seed})'
