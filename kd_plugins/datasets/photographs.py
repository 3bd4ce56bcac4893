"""The photographs and handwritten digits that scikit-learn and scikit-image ship.

Read from their files as the packages themselves read them; importing the packages takes
seconds.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

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
        path = _folder('sklearn') / 'datasets' / 'images' / _SKLEARN[name]
        with PillowImage.open(path) as opened:
            return np.ascontiguousarray(np.asarray(opened)[..., ::-1])
    # Files inside the wheel only: skimage.data downloads whatever it lacks.
    path = _folder('skimage') / 'data' / _SKIMAGE[name]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f'scikit-image no longer ships {path.name}')
    return np.asarray(image, dtype=np.uint8)


@cache
def handwritten_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The 1,797 digits: strokes (1797, 8, 8) within [0, 1], labels (1797,)."""
    path = _folder('sklearn') / 'datasets' / 'data' / 'digits.csv.gz'
    table = np.loadtxt(path, delimiter=',')
    strokes = table[:, :-1].reshape(-1, 8, 8) / 16
    return strokes.astype(np.float32), table[:, -1].astype(np.int64)


def _folder(package: str) -> Path:
    """Of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)
    return Path(spec.origin).parent
