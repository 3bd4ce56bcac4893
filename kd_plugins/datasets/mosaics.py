"""Mosaics of photographs: an embedded benchmark for semantic segmentation.

Each image has three to six regions with wavy borders. Each region is cut from another
of thirteen photographs or textures, at a random position, scale, angle, contrast and
brightness, in colour or grey, with noise. The class of a pixel is its photograph.
Training images are cut from the left halves, validation images from the right ones.
Every image is a function of (seed, split, index).
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from . import cache
from .photographs import Image, photograph
from .pieces import SIDE, bent_grid, half, noisy, relit, save, spread

VERSION = 'mosaics 1'
SIZES = {'train': 3000, 'val': 400}
LABELLED = 300  # images of train_300.txt: the student's labels in the benchmark
# Photographs with similar halves; the label is the index in this list.
CLASSES = (
    *('brick', 'chelsea', 'china', 'coffee', 'coins', 'flower', 'grass'),
    *('gravel', 'hubble', 'ihc', 'moon', 'motorcycle', 'retina'),
)
_SEED = 2018
_WHOLE = 182  # a square of this side, turned by any angle, covers the image
_SMALLEST = 0.45  # side of a piece, of the shorter side of its half photograph
_LIGHT = ((0.5, 1.3), (-40, 40))  # contrast, and brightness added


def prepare_mosaics(
    root: str | Path, *, train: int = SIZES['train'], val: int = SIZES['val']
) -> Path:
    """Make the data set in ``root`` unless it is there.

    Args:
        root: the folder of the data set.
        train: number of training images, >= 1; fewer are for trying things out.
        val: number of validation images, >= 1.

    Returns: ``root``, holding ``images/{train,val}/*.jpg``, the same names in
        ``labels/{train,val}/*.png``, and their lists
        ``splits/{train,train_300,val}.txt``.

    Raises: ConfigError if a size is below 1, or if ``root`` holds other files.
    """
    sizes = {'train': train, 'val': val}
    version = cache.version_of(VERSION, sizes, SIZES)
    return cache.ensure(Path(root), version, partial(_build, sizes=sizes))


def compose(split: str, index: int) -> tuple[Image, NDArray[np.uint8]]:
    """Draw one image.

    Args:
        split: 'train' or 'val'.
        index: >= 0; the same index is always the same image.

    Returns: BGR image (128, 128, 3) and the label of each pixel (128, 128).
    """
    rng = np.random.default_rng([_SEED, list(SIZES).index(split), index])
    labels = rng.permutation(len(CLASSES))[: rng.integers(3, 7)]
    regions = _regions(rng, len(labels))
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    for region, label in enumerate(labels):
        inside = regions == region
        canvas[inside] = _cut(rng, CLASSES[label], split)[inside]
    return noisy(rng, canvas), labels[regions].astype(np.uint8)


def _regions(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Region of each pixel: the nearest centre, on a grid bent by waves."""
    rows, columns = bent_grid(rng)
    distances = [
        (rows - row) ** 2 + (columns - column) ** 2
        for row, column in spread(rng, count)
    ]
    nearest: NDArray[np.int64] = np.asarray(distances).argmin(axis=0)
    return nearest


def _cut(rng: np.random.Generator, name: str, split: str) -> NDArray[np.float32]:
    """A turned piece (128, 128, 3) of one half of a photograph, in other light."""
    image = half(photograph(name), split)
    side = int(min(image.shape[:2]) * _SMALLEST ** rng.random())
    top = int(rng.integers(0, image.shape[0] - side + 1))
    left = int(rng.integers(0, image.shape[1] - side + 1))
    piece: Image = cv2.resize(
        image[top : top + side, left : left + side],
        (_WHOLE, _WHOLE),
        interpolation=cv2.INTER_AREA if side > _WHOLE else cv2.INTER_CUBIC,
    )
    centre = (_WHOLE - 1) / 2
    turn = cv2.getRotationMatrix2D((centre, centre), rng.uniform(-45, 45), 1.0)
    turn[:, 2] -= (_WHOLE - SIDE) / 2
    piece = cv2.warpAffine(piece, turn, (SIDE, SIDE))
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return relit(rng, piece, _LIGHT)


def _build(root: Path, sizes: dict[str, int]) -> None:
    (root / 'splits').mkdir()
    for split, count in sizes.items():
        names = save(root, 'labels', split, count, compose)
        _write(root / 'splits' / f'{split}.txt', names)
        if split == 'train':
            _write(root / 'splits' / f'train_{LABELLED}.txt', names[:LABELLED])


def _write(path: Path, names: list[str]) -> None:
    path.write_text(''.join(f'{name}\n' for name in names))
