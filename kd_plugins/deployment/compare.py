"""What an exported file gives beside what torch gives."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..host_types import DataSample, HostModule
from .images import fitted
from .metadata import SEGMENTATION
from .scored import OnnxPredictor

_NEAR = 1.0  # pixels: a box that lies farther away is another box


@dataclass(frozen=True)
class Tolerances:
    """How far a file may be from torch.

    Args:
        box: pixels of the image on disk that a side of a box may be off.
        score: that a score may be off.
        other_boxes: share of the boxes of either that may have no partner in the other:
            one of the same label, less than a pixel away.
        logits: that a logit may be off, as a share of the largest.
        other_pixels: share of the pixels that may be of another class.
    """

    box: float = 0.05
    score: float = 1e-3
    other_boxes: float = 0.01
    logits: float = 1e-3
    other_pixels: float = 1e-3


@dataclass(frozen=True)
class Difference:
    """One row of the comparison.

    Args:
        name: what is compared, and in which unit.
        value: the largest over the images, or the share over all of them.
        tolerance: the largest that passes.
        compared: how many numbers, boxes or pixels were compared.
    """

    name: str
    value: float
    tolerance: float
    compared: int

    @property
    def passes(self) -> bool:
        """Whether the file is as torch in this."""
        return self.value <= self.tolerance


def compare(
    predictor: OnnxPredictor,
    model: HostModule,
    items: Sequence[Mapping[str, Any]],
    tolerances: Tolerances,
) -> list[Difference]:
    """Run a file and a model on images, and say how far they are apart.

    Args:
        predictor: of the file.
        model: the host's, with the weights that were exported, in eval, on the CPU.
        items: images of the test pipeline, as a data set gives them.
        tolerances: see there.

    Raises: ConfigError for images without a box, on which nothing is compared.
    """
    images, samples, hosts = [], [], []
    for item in items:
        sample = copy.deepcopy(item['data_samples'])
        images.append(fitted(item['inputs'], sample, predictor.file.metadata))
        samples.append(sample)
        with torch.no_grad():
            hosts += model.test_step(_batch(images[-1:], samples[-1:]))
    pairs = list(zip(hosts, predictor.test_step(_batch(images, samples)), strict=True))
    if predictor.file.metadata.task == SEGMENTATION:
        return _of_maps(pairs, tolerances)
    return _of_boxes(pairs, tolerances)


def _batch(images: Sequence[Tensor], samples: Sequence[DataSample]) -> dict[str, Any]:
    """Copies: the host's models write into both."""
    return copy.deepcopy({'inputs': list(images), 'data_samples': list(samples)})


def _of_maps(
    pairs: Sequence[tuple[DataSample, DataSample]], tolerances: Tolerances
) -> list[Difference]:
    pixels = others = numbers = 0
    largest = most = 0.0
    for host, file in pairs:
        host_logits, file_logits = host.seg_logits.data, file.seg_logits.data
        numbers += host_logits.numel()
        most = max(most, float((host_logits - file_logits).abs().max()))
        largest = max(largest, float(host_logits.abs().max()))
        differs = host.pred_sem_seg.data != file.pred_sem_seg.data
        pixels, others = pixels + differs.numel(), others + int(differs.sum())
    return [
        Difference(
            'logits, share of the largest', most / largest, tolerances.logits, numbers
        ),
        Difference(
            'pixels of another class, share',
            others / pixels,
            tolerances.other_pixels,
            pixels,
        ),
    ]


def _of_boxes(
    pairs: Sequence[tuple[DataSample, DataSample]], tolerances: Tolerances
) -> list[Difference]:
    boxes: list[float] = []
    scores: list[float] = []
    alone = number = 0
    for host, file in pairs:
        host_boxes, file_boxes = host.pred_instances, file.pred_instances
        partners = matched(host_boxes, file_boxes)
        number += len(host_boxes) + len(file_boxes)
        alone += len(host_boxes) + len(file_boxes) - 2 * len(partners)
        for first, second in partners:
            boxes.append(_distance(host_boxes, first, file_boxes, second))
            scores.append(
                float((host_boxes.scores[first] - file_boxes.scores[second]).abs())
            )
    if number == 0:
        raise ConfigError(
            f'neither torch nor the file has a box on {len(pairs)} images: nothing is '
            'compared. Give more images (--check 100), or a student that learned '
            'more.'
        )
    return [
        Difference(
            'sides of boxes, pixels', max(boxes, default=0), tolerances.box, len(boxes)
        ),
        Difference('scores', max(scores, default=0), tolerances.score, len(scores)),
        Difference(
            'boxes without a partner, share',
            alone / number,
            tolerances.other_boxes,
            number,
        ),
    ]


def matched(host: Any, file: Any) -> list[tuple[int, int]]:
    """Which box of one is which of the other: of one label, and nearest.

    Args:
        host: predictions of one image, with ``bboxes``, ``scores`` and ``labels``.
        file: likewise.

    Returns: numbers of those that are paired; each box is in one pair at most.
    """
    if not len(host) or not len(file):
        return []
    apart = (host.bboxes[:, None] - file.bboxes[None]).abs().amax(dim=2)
    apart[host.labels[:, None] != file.labels[None]] = torch.inf
    pairs = []
    # By distance, the nearest first. Equal boxes of different scores: by score.
    scores = (host.scores[:, None] - file.scores[None]).abs()
    order = (apart + scores * 1e-3).flatten().argsort()
    free = [set(range(len(host))), set(range(len(file)))]
    for place in order.tolist():
        first, second = divmod(place, len(file))
        if apart[first, second] > _NEAR:
            continue
        if first in free[0] and second in free[1]:
            pairs.append((first, second))
            free[0].remove(first)
            free[1].remove(second)
    return sorted(pairs)


def _distance(host: Any, first: int, file: Any, second: int) -> float:
    return float((host.bboxes[first] - file.bboxes[second]).abs().max())
