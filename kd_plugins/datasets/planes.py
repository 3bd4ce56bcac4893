"""Planes in haze: an embedded benchmark for depth from one image.

Each image shows a wall, and in front of it two to five planes with wavy borders, at any
slant, at distances of one to ten metres; the nearest plane is visible. Two cues depend
on the distance. Each plane is covered with one of the mosaics' photographs, which are
two metres high or wide, so they shrink with the distance and in perspective. And haze
shifts colours towards its own, by Koschmieder's law. The density and colour of the
haze, angles, light and noise differ between images. As in a depth camera, there is no
measurement beyond ten metres, at the borders of planes, and in holes. Training images
show the left halves of photographs, validation images the right halves.
Every image is a function of (seed, split, index).
"""

from functools import cache as cached
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from . import cache
from .mosaics import CLASSES
from .photographs import Image, photograph
from .pieces import SIDE, bent_grid, half, noisy, relit, save, spread

VERSION = 'planes 1'
SIZES = {'train': 3000, 'val': 400}
_SEED = 2019
_FOCAL = 128.0  # pixels: a field of view of 53 degrees
_FARTHEST = 10.0  # metres, the end of the measured range
_WALL = (3.0, 9.0)  # metres, on the optical axis
_PIECES = (1.0, 6.0)
_STEEPEST = (0.8, 1.0)  # tangent of the slant of the wall, and of the pieces
_RADIUS = (18, 45)  # pixels of a piece
_TEXELS = 256  # along the shorter side of a half photograph
_EXTENT = 2.0  # metres of that side
_LEVELS = 5  # of the photographs, each half the size of the one before
_LIGHT = ((0.7, 1.2), (-25, 25))  # contrast, and brightness added
_DENSITY = (0.05, 0.35)  # of the haze, per metre
_BORDER = 1.1  # ratio of neighbouring depths, above which there is no measurement
_HOLES = 1.7  # standard deviations, above which there is a hole

Map = NDArray[np.float32]


def prepare_planes(
    root: str | Path, *, train: int = SIZES['train'], val: int = SIZES['val']
) -> Path:
    """Make the data set in ``root`` unless it is there.

    Args:
        root: the folder of the data set.
        train: number of training images, >= 1; fewer are for trying things out.
        val: number of validation images, >= 1.

    Returns: ``root``, laid out as NYU Depth: ``images/{train,val}/*.jpg`` and the same
        names in ``annotations/{train,val}/*.png``, 16 bits, in millimetres.

    Raises: ConfigError if a size is below 1, or if ``root`` holds other files.
    """
    sizes = {'train': train, 'val': val}
    version = cache.version_of(VERSION, sizes, SIZES)
    return cache.ensure(Path(root), version, partial(_build, sizes=sizes))


def compose(split: str, index: int) -> tuple[Image, NDArray[np.uint16]]:
    """Draw one image.

    Args:
        split: 'train' or 'val'.
        index: >= 0; the same index is always the same image.

    Returns: BGR image (128, 128, 3) and the depth of each pixel (128, 128) in
        millimetres along the optical axis, 0 without a measurement.
    """
    rng = np.random.default_rng([_SEED, list(SIZES).index(split), index])
    names = rng.permutation(CLASSES)[: rng.integers(3, 7)]
    rows, columns = bent_grid(rng)
    nearness = np.zeros((SIDE, SIDE), np.float32)
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    for number, (row, column) in enumerate(spread(rng, len(names))):
        if number == 0:
            plane = _plane(rng, SIDE / 2, SIDE / 2, _WALL, _STEEPEST[0])
            inside = np.ones((SIDE, SIDE), bool)
        else:
            plane = _plane(rng, row, column, _PIECES, _STEEPEST[1])
            radius = rng.uniform(*_RADIUS)
            inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        plane_nearness = np.tensordot(plane, _rays(), 1)
        visible = inside & (plane_nearness > nearness)
        left, top, width, height = cv2.boundingRect(visible.astype(np.uint8))
        if width == 0:
            continue  # behind other planes
        box = np.s_[top : top + height, left : left + width]
        piece = _covered(rng, _pyramid(str(names[number]), split), plane, box)
        canvas[box][visible[box]] = relit(rng, piece, _LIGHT)[visible[box]]
        nearness[visible] = plane_nearness[visible]
    depth = np.reciprocal(nearness)
    image = noisy(rng, _hazy(rng, canvas, depth))
    measured = _measured(rng, depth)
    return image, np.where(measured, np.round(depth * 1000), 0).astype(np.uint16)


@cached
def _rays() -> Map:
    """Direction of each pixel, (3, 128, 128): one metre along the optical axis."""
    rows, columns = (np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2) / _FOCAL
    return np.stack([columns, rows, np.ones((SIDE, SIDE))]).astype(np.float32)


def _plane(
    rng: np.random.Generator,
    row: float,
    column: float,
    distance: tuple[float, float],
    steepest: float,
) -> Map:
    """A plane m (3,) of the points p with m p = 1; a ray r meets it at r / (m r).

    Args:
        rng: source of distance and slant.
        row: of the pixel at which the plane has its distance.
        column: of this pixel.
        distance: in metres, least and largest.
        steepest: tangent of the largest slant.
    """
    nearness = np.exp(-rng.uniform(*np.log(distance)))
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, steepest)
    right, down = slope * np.cos(angle), slope * np.sin(angle)
    x, y = ((pixel - (SIDE - 1) / 2) / _FOCAL for pixel in (column, row))
    plane = nearness * np.array([right, down, 1 - right * x - down * y])
    return np.asarray(plane, dtype=np.float32)


def _covered(
    rng: np.random.Generator, pyramid: list[Image], plane: Map, box: tuple[slice, slice]
) -> NDArray[np.float32]:
    """A plane in this box (H, W, 3), covered with mirrored photographs."""
    axes = _axes(rng, plane) * np.float32(_TEXELS / _EXTENT)
    rays = _rays()[:, box[0], box[1]]
    nearness = np.tensordot(plane, rays, 1)
    texels = np.tensordot(axes, rays, 1) / nearness
    # Texels between neighbouring pixels, in the direction of more texels.
    steps = [
        np.square(axes[:, k, None, None] - texels * plane[k]).sum(axis=0)
        for k in (0, 1)
    ]
    level = np.log2(np.sqrt(np.maximum(*steps)) / (nearness * _FOCAL))
    texels += rng.uniform(0, 4 * _TEXELS, (2, 1, 1)).astype(np.float32)
    piece = np.zeros((*level.shape, 3), np.float32)
    for number, image in enumerate(pyramid):
        share = np.maximum(1 - np.abs(np.clip(level, 0, _LEVELS - 1) - number), 0)
        if share.any():
            x, y = (texels + 0.5) / 2**number - 0.5
            piece += share[..., None] * cv2.remap(
                image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
    return piece


def _axes(rng: np.random.Generator, plane: Map) -> Map:
    """Two directions (2, 3) within the plane, each of length 1, at any angle."""
    across = np.cross([0, 1, 0], plane)
    across /= np.linalg.norm(across)
    along = np.cross(plane, across) / np.linalg.norm(plane)
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    turned = np.stack(
        [
            np.cos(angle) * across + np.sin(angle) * along,
            np.cos(angle) * along - np.sin(angle) * across,
        ]
    )
    return turned.astype(np.float32)


@cached
def _pyramid(name: str, split: str) -> list[Image]:
    """Half a photograph at decreasing sizes, for larger distances."""
    image = half(photograph(name), split)
    images = []
    for number in range(_LEVELS):
        scale = _TEXELS / 2**number / min(image.shape[:2])
        size = [round(side * scale) for side in image.shape[1::-1]]
        images.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return images


def _hazy(
    rng: np.random.Generator, canvas: NDArray[np.float32], depth: Map
) -> NDArray[np.float32]:
    """The canvas in haze: the light that passes, plus the colour of the haze."""
    density = np.exp(rng.uniform(*np.log(_DENSITY)))
    colour = (rng.uniform(120, 250) + rng.normal(0, 8, 3)).astype(np.float32)
    through = np.exp(-np.float32(density) * depth)[..., None]
    hazy: NDArray[np.float32] = colour + (canvas - colour) * through
    return hazy


def _measured(rng: np.random.Generator, depth: Map) -> NDArray[np.bool_]:
    beside = np.ones((3, 3))
    borders = cv2.dilate(depth, beside) > _BORDER * cv2.erode(depth, beside)
    coarse = rng.standard_normal((SIDE // 8, SIDE // 8))
    holes = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) > _HOLES
    measured: NDArray[np.bool_] = (depth <= _FARTHEST) & ~borders & ~holes
    return measured


def _build(root: Path, sizes: dict[str, int]) -> None:
    for split, count in sizes.items():
        save(root, 'annotations', split, count, compose)
