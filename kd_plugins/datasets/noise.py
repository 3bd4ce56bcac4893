"""Noise on an image, as of a sensor in the dark."""

from typing import Any

import numpy as np

from ..checks import check_float
from ..registry import TRANSFORMS


@TRANSFORMS.register_module()
class GaussianNoise:
    """Add normal noise to every value of an image.

    Args:
        std: its standard deviation, in the image's own units (0 to 255), >= 0.

    Raises: ConfigError for a negative one.
    """

    def __init__(self, std: float) -> None:
        self.std = check_float('std', std)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """The sample with a noisy image of the same type, whole numbers clipped."""
        image = results['img']
        noisy = image + np.random.normal(0.0, self.std, image.shape)
        if np.issubdtype(image.dtype, np.integer):
            limits = np.iinfo(image.dtype)
            noisy = noisy.round().clip(limits.min, limits.max)
        results['img'] = noisy.astype(image.dtype)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(std={self.std:g})'
