"""Digits in photographs: an embedded detection benchmark in COCO format.

Each image has one to five handwritten digits, upsampled to 20-56 pixels, rotated,
coloured and blended into a crop of a photograph, with noise. Training and validation
share neither digits nor photographs. Every image is a function of (seed, split, index).
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from . import cache
from .drawing import draw_all
from .photographs import Image, handwritten_digits, photograph

VERSION = 'digits 1'
SIDE = 128
SIZES = {'train': 4000, 'val': 500}
LABELLED = 300  # images of train_300.json: the student's labels in the benchmark
_SEED = 2017
_MARGIN = 2  # pixels between the boxes of two digits
_PHOTOGRAPHS = {
    'train': [
        *('astronaut', 'brick', 'camera', 'cell', 'china', 'coffee', 'coins'),
        *('grass', 'hubble', 'ihc', 'motorcycle'),
    ],
    'val': ['chelsea', 'flower', 'gravel', 'moon', 'retina', 'rocket'],
}
_FIRST_VAL_DIGIT = 1297  # the last 500 of 1,797 are for validation

Instance = dict[str, Any]


def prepare_digits(
    root: str | Path, *, train: int = SIZES['train'], val: int = SIZES['val']
) -> Path:
    """Make the data set in ``root`` unless it is there.

    Args:
        root: the folder of the data set.
        train: number of training images, >= 1; fewer are for trying things out.
        val: number of validation images, >= 1.

    Returns: ``root``, holding ``train/``, ``val/`` and ``annotations/{train,
        train_300,val}.json``.

    Raises: ConfigError if a size is below 1.
    """
    sizes = {'train': train, 'val': val}
    version = cache.version_of(VERSION, sizes, SIZES)
    return cache.ensure(Path(root), version, partial(_build, sizes=sizes))


def compose(split: str, index: int) -> tuple[Image, list[Instance]]:
    """Draw one image.

    Args:
        split: 'train' or 'val'.
        index: >= 0; the same index is always the same image.

    Returns: BGR image (128, 128, 3) and its instances, each with ``label`` (0-9),
        ``mask`` (128, 128) of {0, 1} and ``box`` (x, y, w, h), the mask's bounds.
    """
    rng = np.random.default_rng([_SEED, list(SIZES).index(split), index])
    canvas = _background(rng, _PHOTOGRAPHS[split])
    strokes, labels = handwritten_digits()
    numbers = (
        np.arange(_FIRST_VAL_DIGIT)
        if split == 'train'
        else np.arange(_FIRST_VAL_DIGIT, len(labels))
    )
    instances: list[Instance] = []
    for _ in range(rng.integers(1, 6)):
        number = int(rng.choice(numbers))
        stroke = _warp(rng, strokes[number])
        corner = _free_corner(rng, stroke, instances)
        if corner is not None:
            instances.append(
                {'label': int(labels[number]), **_paint(rng, canvas, stroke, corner)}
            )
    canvas += rng.normal(0, rng.uniform(2, 12), canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8), instances


def _background(rng: np.random.Generator, names: list[str]) -> NDArray[np.float64]:
    image = photograph(str(rng.choice(names)))
    side = int(rng.integers(SIDE, min(image.shape[:2]) + 1))
    top = int(rng.integers(0, image.shape[0] - side + 1))
    left = int(rng.integers(0, image.shape[1] - side + 1))
    crop: NDArray[np.uint8] = cv2.resize(
        image[top : top + side, left : left + side],
        (SIDE, SIDE),
        interpolation=cv2.INTER_AREA,
    )
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return crop.astype(np.float64) * rng.uniform(0.6, 1.2) + rng.uniform(-20, 20)


def _warp(rng: np.random.Generator, stroke: NDArray[np.float32]) -> NDArray[np.float32]:
    """Upsample and rotate an 8x8 stroke, and crop it to its visible part."""
    side = int(rng.integers(20, 57))
    angle = rng.uniform(-20, 20)
    large = cv2.resize(stroke, (side, side), interpolation=cv2.INTER_CUBIC)
    rotation = cv2.getRotationMatrix2D((side / 2, side / 2), angle, 1.0)
    turned: NDArray[np.float32] = cv2.warpAffine(large, rotation, (side, side)).clip(
        0, 1
    )
    rows, columns = np.nonzero(turned > 0.5)
    return turned[
        rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
    ].astype(np.float32)


def _free_corner(
    rng: np.random.Generator, stroke: NDArray[np.float32], taken: list[Instance]
) -> tuple[int, int] | None:
    """Top left corner (x, y) at which the stroke touches no instance, or None."""
    height, width = stroke.shape
    for _ in range(20):
        x = int(rng.integers(0, SIDE - width + 1))
        y = int(rng.integers(0, SIDE - height + 1))
        if all(
            x + width + _MARGIN <= left
            or left + w + _MARGIN <= x
            or y + height + _MARGIN <= top
            or top + h + _MARGIN <= y
            for left, top, w, h in (instance['box'] for instance in taken)
        ):
            return x, y
    return None


def _paint(
    rng: np.random.Generator,
    canvas: NDArray[np.float64],
    stroke: NDArray[np.float32],
    corner: tuple[int, int],
) -> Instance:
    """Blend the stroke into the canvas, in a colour that differs from the canvas."""
    x, y = corner
    height, width = stroke.shape
    patch = canvas[y : y + height, x : x + width]
    behind = patch.mean((0, 1))
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - behind).mean() < 50:
        colour = rng.uniform(0, 255, 3)
    alpha = stroke[..., None] * rng.uniform(0.65, 1.0)
    patch[:] = patch * (1 - alpha) + colour * alpha
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y : y + height, x : x + width] = stroke > 0.5
    return {'mask': mask, 'box': (x, y, width, height)}


def _build(root: Path, sizes: dict[str, int]) -> None:
    (root / 'annotations').mkdir()
    for split, count in sizes.items():
        (root / split).mkdir()
        drawn = draw_all(
            partial(_draw, root / split, split),
            count,
            f'digits in photographs, {split}',
        )
        images = [
            {
                'id': index,
                'file_name': f'{index:05d}.jpg',
                'width': SIDE,
                'height': SIDE,
            }
            for index in range(count)
        ]
        listed = (instance for instances in drawn for instance in instances)
        annotations = [
            {'id': number, **instance} for number, instance in enumerate(listed, 1)
        ]
        _write(root / 'annotations' / f'{split}.json', images, annotations)
        if split == 'train':
            _write(
                root / 'annotations' / f'train_{LABELLED}.json',
                images[:LABELLED],
                [item for item in annotations if item['image_id'] < LABELLED],
            )


def _draw(folder: Path, split: str, index: int) -> list[dict[str, Any]]:
    """Write an image; its annotations, without their numbers."""
    image, instances = compose(split, index)
    path = folder / f'{index:05d}.jpg'
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return [_annotation(index, instance) for instance in instances]


def _annotation(image: int, instance: Instance) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(instance['mask']))
    return {
        'image_id': image,
        'category_id': instance['label'],
        'bbox': list(instance['box']),
        'area': int(instance['mask'].sum()),
        'segmentation': {'size': rle['size'], 'counts': rle['counts'].decode()},
        'iscrowd': 0,
    }


def _write(
    path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> None:
    categories = [{'id': digit, 'name': str(digit)} for digit in range(10)]
    path.write_text(
        json.dumps(
            {'images': images, 'annotations': annotations, 'categories': categories}
        )
    )
