"""Parts of mosaics and planes: halves of photographs, wavy borders, light."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .drawing import draw_all
from .photographs import Image

SIDE = 128
_WAVE = 24  # pixels between the bends of a border

Light = tuple[tuple[float, float], tuple[float, float]]


def half(image: Image, split: str) -> Image:
    """The left half of a photograph for 'train', the right one for 'val'."""
    middle = image.shape[1] // 2
    return image[:, :middle] if split == 'train' else image[:, middle:]


def bent_grid(rng: np.random.Generator) -> NDArray[np.float64]:
    """Row and column of each pixel (2, 128, 128), bent by waves."""
    coarse = rng.normal(0, 8, (SIDE // _WAVE + 2, SIDE // _WAVE + 2, 2))
    waves = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    grid: NDArray[np.float64] = np.mgrid[:SIDE, :SIDE] + np.moveaxis(waves, -1, 0)
    return grid


def spread(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Centres (count, 2), at least a quarter of the image apart if possible."""
    centres = [rng.uniform(0, SIDE, 2)]
    while len(centres) < count:
        candidates = rng.uniform(0, SIDE, (20, 2))
        gaps = np.linalg.norm(candidates[:, None] - np.stack(centres), axis=-1).min(-1)
        far = gaps >= SIDE / 4
        centres.append(candidates[far.argmax() if far.any() else gaps.argmax()])
    return np.stack(centres)


def relit(rng: np.random.Generator, piece: Any, light: Light) -> NDArray[np.float32]:
    """A piece of a photograph in other light; grey in half of the cases.

    Args:
        rng: source of the light.
        piece: BGR, shape (H, W, 3), uint8 or float32.
        light: lowest and highest contrast, and brightness added.
    """
    if rng.random() < 0.5:
        piece = cv2.cvtColor(
            cv2.cvtColor(piece, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR
        )
    contrast, brightness = (rng.uniform(low, high) for low, high in light)
    mean = piece.mean()
    shift = mean * (1 - contrast) + brightness
    lit: NDArray[np.float32] = piece * np.float32(contrast) + np.float32(shift)
    return lit


def noisy(rng: np.random.Generator, canvas: NDArray[np.float32]) -> Image:
    """The canvas with a camera's noise, of any strength up to 12 of 255."""
    noise = rng.standard_normal(canvas.shape, np.float32)
    canvas = canvas + noise * np.float32(rng.uniform(2, 12))
    return np.clip(canvas, 0, 255).astype(np.uint8)


def save(
    root: Path,
    maps: str,
    split: str,
    count: int,
    compose: Callable[[str, int], tuple[Image, NDArray[Any]]],
) -> list[str]:
    """Draw and write ``images/<split>/*.jpg`` and ``<maps>/<split>/*.png``.

    Args:
        root: folder of the data set, which must exist.
        maps: folder of the maps, such as 'labels'.
        split: 'train' or 'val'.
        count: number of images.
        compose: draws an image and its map, by split and index.

    Returns: names of the images, without their endings.
    """
    folders = [root / kind / split for kind in ('images', maps)]
    for folder in folders:
        folder.mkdir(parents=True)

    def draw(index: int) -> str:
        image, pixels = compose(split, index)
        name = f'{index:05d}'
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        cv2.imwrite(str(folders[0] / f'{name}.jpg'), image, quality)
        cv2.imwrite(str(folders[1] / f'{name}.png'), pixels)
        return name

    return draw_all(draw, count, f'{split} images')
