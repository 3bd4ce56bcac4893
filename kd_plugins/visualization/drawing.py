"""Boxes painted on an image: right, wrong, missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torchvision.ops import box_iou

from ..extras import extra

RIGHT, WRONG, MISSED, TRUTH = 'right', 'wrong', 'missed', 'ground truth'
COLOURS: Mapping[str, tuple[int, int, int]] = {
    TRUTH: (70, 150, 255),
    RIGHT: (60, 200, 90),
    WRONG: (240, 70, 60),
    MISSED: (255, 210, 40),
}
LEGEND: Mapping[str, tuple[int, int, int]] = {
    'ground truth': COLOURS[TRUTH],
    'right (class and place, IoU 0.5)': COLOURS[RIGHT],
    'wrong': COLOURS[WRONG],
    'missed': COLOURS[MISSED],
}
_OVERLAP = 0.5  # lowest IoU of a right box
Boxes = NDArray[np.float64]
Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Objects:
    """Boxes of one image.

    Attributes:
        boxes: (R, 4), corners in pixels of the image.
        labels: (R,), class numbers.
        scores: (R,); None for ground truth.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Mark:
    """A box to be painted.

    Attributes:
        box: corners in pixels of the image.
        kind: key of ``COLOURS``.
        text: beside the box.
    """

    box: tuple[float, float, float, float]
    kind: str
    text: str = field(default='')


def mark_truth(truth: Objects, classes: Sequence[str]) -> list[Mark]:
    """Marks of the ground truth."""
    return [
        Mark(_corners(box), TRUTH, classes[label])
        for box, label in zip(truth.boxes, truth.labels, strict=True)
    ]


def mark_predictions(
    predicted: Objects, truth: Objects, classes: Sequence[str]
) -> list[Mark]:
    """Marks of predictions, right or wrong as in the metric, and of missed objects.

    A prediction is right if its IoU with an object of its class is at least 0.5, and no
    prediction of higher score has this object.

    Args:
        predicted: with scores.
        truth: of the same image.
        classes: names by number.
    """
    assert predicted.scores is not None
    overlaps = box_iou(*map(torch.tensor, (predicted.boxes, truth.boxes))).numpy()
    free = np.ones(len(truth.labels), dtype=bool)
    marks = []
    for row in np.argsort(-predicted.scores):
        label = predicted.labels[row]
        fits = free & (truth.labels == label) & (overlaps[row] >= _OVERLAP)
        kind = RIGHT if fits.any() else WRONG
        if fits.any():
            free[np.argmax(np.where(fits, overlaps[row], -1))] = False
        text = f'{classes[label]} {100 * predicted.scores[row]:.0f}'
        marks.append(Mark(_corners(predicted.boxes[row]), kind, text))
    missed = [Mark(_corners(truth.boxes[row]), MISSED) for row in np.flatnonzero(free)]
    return [*missed, *marks[::-1]]  # the highest score on top


def paint(image: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A copy of an image with marks.

    Args:
        image: RGB.
        marks: painted in this order.
    """
    canvas = image.copy()
    draw = ImageDraw.Draw(canvas)
    for mark in marks:
        colour = COLOURS[mark.kind]
        box = [round(side) for side in mark.box]
        if mark.kind == MISSED:
            _dashed(draw, box, colour)
        else:
            draw.rectangle(box, outline=colour, width=2)
    taken: list[Rectangle] = []
    for mark in reversed(marks):  # over all boxes; the highest score first
        if mark.text:
            taken.append(_write(draw, mark, canvas.size, taken))
    return canvas


def caption(panel: Image.Image, text: str) -> Image.Image:
    """A copy of a panel with a text in its lower left corner, if there is room.

    Example:
        >>> caption(Image.new('RGB', (8, 8)), 'more than fits').getbbox() is None
        True
    """
    letters = font(12, bold=True)
    width = int(letters.getlength(text)) + 8
    captioned = panel.copy()
    if width <= panel.width:
        draw = ImageDraw.Draw(captioned)
        top = panel.height - 17
        draw.rectangle((0, top, width, panel.height), fill='white')
        draw.text((4, top + 1), text, font=letters, fill='black')
    return captioned


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font of matplotlib."""
    with extra('report', 'a picture with text'):
        import matplotlib
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    path = Path(matplotlib.get_data_path(), 'fonts', 'ttf', name)
    return ImageFont.truetype(str(path), size)


def _write(
    draw: ImageDraw.ImageDraw,
    mark: Mark,
    size: tuple[int, int],
    taken: Sequence[Rectangle],
) -> Rectangle:
    """Write a mark's text beside its box, in free space; returns its rectangle."""
    letters = font(12, bold=True)
    width, height = int(draw.textlength(mark.text, font=letters)) + 5, 15
    left, top, right, bottom = (round(side) for side in mark.box)
    corners = [
        *((left, top - height), (left, bottom), (right - width, top - height)),
        *((left, top), (right - width, bottom), (right, top), (left - width, top)),
    ]
    inside = [
        (x, y, x + width, y + height)
        for x, y in corners
        if 0 <= x <= size[0] - width and 0 <= y <= size[1] - height
    ]
    free = [area for area in inside if not any(_meet(area, item) for item in taken)]
    area = (*free, *inside, (0, 0, width, height))[0]
    colour = COLOURS[mark.kind]
    draw.rectangle(area, fill=colour)
    ink = 'black' if sum(colour) > 400 else 'white'
    draw.text((area[0] + 3, area[1]), mark.text, font=letters, fill=ink)
    return area


def _meet(first: Rectangle, second: Rectangle) -> bool:
    return (
        first[0] < second[2]
        and second[0] < first[2]
        and first[1] < second[3]
        and second[1] < first[3]
    )


def _dashed(
    draw: ImageDraw.ImageDraw, box: Sequence[int], colour: tuple[int, int, int]
) -> None:
    left, top, right, bottom = box
    for start in range(left, right, 10):
        end = min(start + 5, right)
        draw.line([start, top, end, top], fill=colour, width=2)
        draw.line([start, bottom, end, bottom], fill=colour, width=2)
    for start in range(top, bottom, 10):
        end = min(start + 5, bottom)
        draw.line([left, start, left, end], fill=colour, width=2)
        draw.line([right, start, right, end], fill=colour, width=2)


def _corners(box: Boxes) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(side) for side in box)
    return left, top, right, bottom
