"""Predictions and maps of both models for single images, to draw later."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..distillers import Distiller
from ..distillers.pair import Pair
from ..evaluation.fidelity import TeacherPredictions
from ..host_types import DataSample, HostModule
from ..random_stream import get_random_state, set_random_state
from ..views.run import frozen
from .maps import PairMap, pair_maps

SIDE = 256  # approximate pixels of the longer side of a panel of maps


@dataclass(frozen=True)
class Heat:
    """Heat maps of one level of a pair, each as large as the image's panel.

    Attributes:
        pair: name of the pair.
        level: such as 'neck[0]'.
        quantity: name of the quantity in the maps.
        teacher: (H, W).
        student: (H, W).
        adapted: (H, W); None without an adapter.
    """

    pair: str
    level: str
    quantity: str
    teacher: Tensor
    student: Tensor
    adapted: Tensor | None


@dataclass(frozen=True)
class Shot:
    """Predictions and maps of one image, at one moment of the student.

    Attributes:
        image: (H, W, 3), RGB, resized by the host's pipeline.
        shape: height and width of the original image, the unit of the predictions.
        sample: of the data set, with the ground truth if there is one.
        student: the student's prediction, a data sample of the host.
        teachers: predictions of the teachers, by name.
        heats: maps of all levels of all pairs that have maps.
    """

    image: NDArray[np.uint8]
    shape: tuple[int, int]
    sample: DataSample
    student: DataSample
    teachers: dict[str, Any]
    heats: list[Heat] = field(default_factory=list)

    def panel(self, side: int) -> Image.Image:
        """The image, at the size of a panel.

        Args:
            side: of the longer side, approximately, in pixels. A smaller image is
                enlarged by a whole number.
        """
        height, width = panel_size(self.shape, side)
        enlarged = height >= len(self.image)
        method = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
        return Image.fromarray(self.image).resize((width, height), method)


def take_shots(
    distiller: Distiller, items: Sequence[dict[str, Any]], pairs: Sequence[Pair]
) -> list[Shot]:
    """Run both models on each image; the distiller does not change.

    In ``eval()``, without gradient, in the precision of the models. Random states and
    the statistics of batch norms do not change.

    Args:
        distiller: not wrapped for distributed training.
        items: of the host's data set; they do not change.
        pairs: for the maps.
    """
    state = get_random_state()
    try:
        return [_take(distiller, item, pairs) for item in items]
    finally:
        set_random_state(state)


def _take(distiller: Distiller, item: dict[str, Any], pairs: Sequence[Pair]) -> Shot:
    batch = {key: [value] for key, value in item.items()}
    device = next(distiller.student.parameters()).device
    student: HostModule = distiller.student
    with frozen(distiller):
        data = distiller.data_preprocessor(copy.deepcopy(batch), False)
        inputs, samples = data['inputs'], data['data_samples']
        maps = pair_maps(distiller, pairs, inputs, samples)
        (predicted,) = student(inputs, samples, mode='predict')
    teachers = {
        name: _kept(TeacherPredictions(teacher).predict(batch, device)[0])
        for name, teacher in distiller.teachers.items()
    }
    sample = item['data_samples']
    meta = sample.metainfo
    height, width = meta.get('ori_shape', meta['img_shape'])[:2]
    size = panel_size((height, width), SIDE)
    padded = _with_padding(size, meta['img_shape'], inputs)
    # The loader's channels are blue, green, red.
    image = item['inputs'].flip(0).permute(1, 2, 0).clamp(0, 255).byte().cpu().numpy()
    heats = [_heat(item, padded, size) for item in maps]
    return Shot(image, (height, width), sample, _kept(predicted), teachers, heats)


def _kept(predicted: DataSample) -> Any:
    """The prediction on the CPU, without the logits of every pixel."""
    sample = predicted.cpu()
    if 'seg_logits' in sample:
        del sample.seg_logits
    return sample


def panel_size(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of an image's panel.

    Example:
        >>> panel_size((100, 128), 256), panel_size((500, 1000), 256)
        ((200, 256), (128, 256))
    """
    longest = max(shape)
    scale = side // longest if longest <= side else side / longest
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)


def _with_padding(
    size: tuple[int, int], shape: Sequence[int], inputs: Tensor
) -> tuple[int, int]:
    """Size of a panel that includes the padding of the input."""
    height, width = (
        max(math.ceil(panel * padded / side), panel)
        for panel, side, padded in zip(size, shape[:2], inputs.shape[2:], strict=True)
    )
    return height, width


def _heat(maps: PairMap, padded: tuple[int, int], size: tuple[int, int]) -> Heat:
    """Maps at the size of the panel: pixels as squares, without padding."""

    def fit(value: Tensor) -> Tensor:
        heat = maps.heat(value)[None, None]
        enlarged = F.interpolate(heat, padded, mode='nearest-exact')
        return enlarged[0, 0, : size[0], : size[1]]

    with torch.no_grad():
        adapted = None if maps.adapted is None else fit(maps.adapted)
        student, teacher = fit(maps.student), fit(maps.teacher)
    return Heat(maps.pair, maps.level, maps.quantity, teacher, student, adapted)
