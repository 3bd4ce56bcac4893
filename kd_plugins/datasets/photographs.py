"""The photographs and handwritten digits that scikit-learn and scikit-image ship."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_image

Image = NDArray[np.uint8]

_SKIMAGE = {
    'astronaut': 'astronaut.png',
    'brick': 'brick.png',
    'camera': 'camera.png',
    'cell': 'cell.png',
    'chelsea': 'chelsea.png',
    'coffee': 'coffee.png',
    'coins': 'coins.png',
    'grass': 'grass.png',
    'gravel': 'gravel.png',
    'hubble': 'hubble_deep_field.jpg',
    'ihc': 'ihc.png',
    'moon': 'moon.png',
    'motorcycle': 'motorcycle_left.png',
    'retina': 'retina.jpg',
    'rocket': 'rocket.jpg',
}
_SKLEARN = {'china': 'china.jpg', 'flower': 'flower.jpg'}


@cache
def photograph(name: str) -> Image:
    """One photograph, BGR, shape (H, W, 3), shorter side at least 300 pixels.

    Raises: KeyError for an unknown name.
    """
    if name in _SKLEARN:
        return np.ascontiguousarray(load_sample_image(_SKLEARN[name])[..., ::-1])
    # Files inside the wheel only: skimage.data downloads whatever it lacks.
    path = Path(skimage.__file__).parent / 'data' / _SKIMAGE[name]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f'scikit-image no longer ships {path.name}')
    return np.asarray(image, dtype=np.uint8)


@cache
def handwritten_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The 1,797 digits: strokes (1797, 8, 8) within [0, 1], labels (1797,)."""
    digits = load_digits()
    return (digits.images / 16).astype(np.float32), digits.target.astype(np.int64)
