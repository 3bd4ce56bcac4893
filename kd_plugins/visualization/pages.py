"""Pages of predictions, and of the maps of each pair, side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..distillers import Distiller
from ..distillers.pair import NO_TEACHER, Pair
from ..host_types import DataSample
from .drawing import caption
from .layout import Colour, arrange
from .maps import PROBABILITY
from .painting import PredictionPainter, paint_heat, scale_lines
from .shots import SIDE, Shot

ClassNames = Mapping[str, Sequence[str] | None]
Panels = dict[str, list[Image.Image]]
_PREDICTIONS = 'predictions'
_PREDICTED_SIDE = 384  # for readable text of the host


@dataclass(frozen=True)
class Column:
    """The student at one moment.

    Attributes:
        title: of the column.
        shots: one for each image.
        adapted: title of the maps after the pairs' adapters; '' without adapters of
            this moment.
    """

    title: str
    shots: Sequence[Shot]
    adapted: str = ''


def make_pages(
    students: Sequence[Column], painter: PredictionPainter, classes: ClassNames
) -> dict[str, Image.Image]:
    """A page 'predictions', and one 'maps_<pair>' for each pair that has maps.

    On a page of maps, each level has one colour scale for all images and models, below
    the panels: from the lowest to the highest value; for probabilities from 0 to 1.

    Args:
        students: at one or more moments, of the same images and pairs.
        painter: of the predictions.
        classes: names of each teacher's classes; None: the student's classes.
    """
    pages = {_PREDICTIONS: _predictions(students, painter, classes)}
    for name in dict.fromkeys(heat.pair for heat in students[0].shots[0].heats):
        pages[f'maps_{name}'] = _maps(students, name)
    return pages


def as_array(page: Image.Image) -> NDArray[np.uint8]:
    """A page as an image for the host's visualizer, (H, W, 3), RGB."""
    return np.asarray(page)


@dataclass(frozen=True)
class _Predicted:
    """Data samples of one column, and how to draw them."""

    title: str
    samples: list[Any]
    what: str = 'pred'
    classes: Sequence[str] | None = None


def _predictions(
    students: Sequence[Column], painter: PredictionPainter, classes: ClassNames
) -> Image.Image:
    first = students[0].shots
    columns = [_Predicted('ground truth', [shot.sample for shot in first], 'gt')]
    for name, names in classes.items():
        title = 'teacher' if len(classes) == 1 else f"teacher '{name}'"
        samples = [shot.teachers[name] for shot in first]
        columns.append(_Predicted(title, samples, classes=names))
    for student in students:
        samples = [shot.student for shot in student.shots]
        columns.append(_Predicted(student.title, samples))
    images = [shot.panel(_PREDICTED_SIDE) for shot in first]
    panels = {'image': images}
    if 'pred_depth_map' in first[0].student:
        return _depths(columns, panels)
    legend: dict[str, Colour] = {}
    for column in columns:
        what, names = column.what, column.classes
        if not all(_is_drawn(sample, what) for sample in column.samples):
            continue  # files have no ground truth
        painted = []
        for image, sample, shot in zip(images, column.samples, first, strict=True):
            panel, colours = painter.paint(image, sample, what, names, shot.sample)
            painted.append(panel)
            legend |= colours
        panels[column.title] = painted
    return _page(panels, legend=legend)


def _is_drawn(sample: DataSample, what: str) -> bool:
    instances = sample.get(f'{what}_instances', {})
    return 'bboxes' in instances or f'{what}_sem_seg' in sample


def _depths(columns: Sequence[_Predicted], panels: Panels) -> Image.Image:
    """Depths of all columns on one colour scale."""
    depths_by_title = {}
    for column in columns:
        name = f'{column.what}_depth_map'
        if all(name in sample for sample in column.samples):
            depths_by_title[column.title] = [
                _depth(sample.get(name).data, (image.height, image.width))
                for sample, image in zip(column.samples, panels['image'], strict=True)
            ]
    scale = _extremes(depth for depths in depths_by_title.values() for depth in depths)
    for title, depths in depths_by_title.items():
        panels[title] = [paint_heat(depth, *scale) for depth in depths]
    return _page(panels, {'depth (grey: not measured)': scale})


def _depth(values: Any, size: tuple[int, int]) -> Tensor:
    """A depth map of the panel's size; NaN for pixels without a measurement."""
    depth = torch.as_tensor(values).detach().float().cpu()
    maps = depth.reshape(1, 1, *depth.shape[-2:])
    fitted = F.interpolate(maps, size, mode='nearest-exact')[0, 0]
    return fitted.where(fitted > 0, torch.full_like(fitted, torch.nan))


def _maps(students: Sequence[Column], pair: str) -> Image.Image:
    """A page of one pair: a row for each image and level."""
    first = students[0].shots
    heats = [heat for heat in first[0].heats if heat.pair == pair]

    def rows(shots: Sequence[Shot], which: str) -> list[Tensor]:
        return [
            getattr(heat, which)
            for shot in shots
            for heat in shot.heats
            if heat.pair == pair
        ]

    columns = {'teacher': rows(first, 'teacher')}
    for student in students:
        columns[student.title] = rows(student.shots, 'student')
        if student.adapted and heats[0].adapted is not None:
            columns[student.adapted] = rows(student.shots, 'adapted')
    number = len(heats)
    scales = [
        (0.0, 1.0)
        if heats[level].quantity == PROBABILITY
        else _extremes(
            heat for maps in columns.values() for heat in maps[level::number]
        )
        for level in range(number)
    ]
    images = [shot.panel(SIDE) for shot in first]
    panels = {
        'image': [caption(image, heat.level) for image in images for heat in heats]
    }
    for title, maps in columns.items():
        panels[title] = [
            paint_heat(heat, *scales[row % number]) for row, heat in enumerate(maps)
        ]
    texts = [f'{heat.level}: {heat.quantity}' for heat in heats]
    return _page(panels, dict(zip(texts, scales, strict=True)))


def _extremes(heats: Iterable[Tensor]) -> tuple[float, float]:
    """Lowest and highest finite value of all maps."""
    values = torch.cat([torch.zeros(0), *(heat[heat.isfinite()] for heat in heats)])
    if not len(values):
        return 0.0, 0.0
    return float(values.min()), float(values.max())


def _page(
    columns: Panels,
    scales: Mapping[str, tuple[float, float]] | None = None,
    legend: Mapping[str, Colour] | None = None,
) -> Image.Image:
    """A grid of panels, and below it a legend, or colour scales."""
    rows = list(zip(*columns.values(), strict=True))
    grid = arrange(rows, list(columns), legend or {})
    foot = scale_lines(scales or {})
    width = max(grid.width, *(line.width for line in foot), 0)
    height = grid.height + sum(line.height for line in foot)
    page = Image.new('RGB', (width, height), 'white')
    page.paste(grid, (0, 0))
    top = grid.height
    for line in foot:
        page.paste(line, (0, top))
        top += line.height
    return page


def class_names(distiller: Distiller) -> dict[str, Sequence[str] | None]:
    """Names of each teacher's classes; None: the student's classes."""
    return {
        name: None if teacher.class_map is None else teacher.class_map.teacher
        for name, teacher in distiller.teachers.items()
    }


def left_out(pairs: Sequence[Pair], column: Column) -> str:
    """A message about pairs without a page; '' if all have one."""
    shown = {heat.pair for heat in column.shots[0].heats}
    without = [pair for pair in pairs if pair.name not in shown]
    alone = [pair.name for pair in without if pair.teacher == NO_TEACHER]
    rows = [pair.name for pair in without if pair.teacher != NO_TEACHER]
    sentences = []
    if rows:
        sentences.append(
            f'No maps of {", ".join(rows)}: what is compared are rows, such as RoIs, '
            'or relations between layers, not maps of an image.'
        )
    if alone:
        sentences.append(
            f'No maps of {", ".join(alone)}: there is no teacher to compare with.'
        )
    return ' '.join(sentences)
