"""What becomes of predictions: annotations of boxes, label maps, or soft labels."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import ConfigError
from ..files import written
from .folder import write_json
from .fusion import Boxes, suppressed, weighted_box_fusion
from .images import stem
from .labeller import Labeller
from .maps import IGNORED, label_map, most_probable
from .options import PseudoLabelOptions

BOXES, LIST = 'boxes.json', 'images.txt'
_SMALLEST = 1.0  # pixels of a side: the hosts leave out what is smaller
_DIGITS = 2  # of a pixel; of a score twice as many

Part = dict[str, Any]


class Writer(ABC):
    """Labels of one kind.

    Args:
        labellers: all of one task, with the same classes.
        options: how the labels are made.
    """

    def __init__(
        self, labellers: Sequence[Labeller], options: PseudoLabelOptions
    ) -> None:
        self.labellers, self.options = labellers, options
        self.classes = labellers[0].classes

    @abstractmethod
    def write(
        self, folder: Path, names: Sequence[str], batch: Sequence[dict[str, Any]]
    ) -> Part:
        """Label a batch, and write the files of its images, each whole.

        Args:
            folder: of the labels.
            names: of the images.
            batch: for each labeller, as its pipeline gives it.

        Returns: what came of it, as JSON can hold it.
        """

    @abstractmethod
    def assemble(
        self, folder: Path, names: Sequence[str], parts: Sequence[Part]
    ) -> Part:
        """Write what a data set reads, of all parts; returns numbers of the whole."""


class BoxWriter(Writer):
    """``boxes.json``: annotations as COCO has them, with a ``score`` each."""

    def write(
        self, folder: Path, names: Sequence[str], batch: Sequence[dict[str, Any]]
    ) -> Part:
        """Label a batch; it has no files of its own."""
        predictions = [
            view
            for labeller, data in zip(self.labellers, batch, strict=True)
            for view in labeller.boxes(data)
        ]
        sizes = _sizes(batch[0])
        images = []
        for number, size in enumerate(sizes):
            boxes = self._fused([view[number] for view in predictions])
            images.append({'size': size, 'boxes': self._kept(boxes, size)})
        return {'images': images}

    def _fused(self, sources: Sequence[Boxes]) -> Boxes:
        if len(sources) == 1:  # it has met its own NMS
            return sources[0]
        boxes, scores, labels = (
            torch.cat([source[part] for source in sources]) for part in range(3)
        )
        iou = self.options.iou_threshold
        if self.options.fusion == 'nms':
            return suppressed(boxes, scores, labels, iou_threshold=iou)
        return weighted_box_fusion(
            boxes, scores, labels, sources=len(sources), iou_threshold=iou
        )

    def _kept(self, found: Boxes, size: Sequence[int]) -> list[list[float]]:
        """Label, score, corner and sides of boxes that are sure and large enough."""
        height, width = size
        rows = []
        for corners, score, label in zip(
            *(part.tolist() for part in found), strict=True
        ):
            left, right = (min(max(x, 0.0), width) for x in corners[::2])
            top, bottom = (min(max(y, 0.0), height) for y in corners[1::2])
            if score < self.options.threshold:
                continue
            sides = (right - left, bottom - top)
            if min(sides) >= _SMALLEST:
                box = [round(each, _DIGITS) for each in (left, top, *sides)]
                rows.append([label, round(score, 2 * _DIGITS), *box])
        return rows

    def assemble(
        self, folder: Path, names: Sequence[str], parts: Sequence[Part]
    ) -> Part:
        """Write ``boxes.json``."""
        found = [image for part in parts for image in part['images']]
        images: list[Part] = []
        annotations: list[Part] = []
        counts: Counter[str] = Counter(dict.fromkeys(self.classes, 0))
        for number, (name, image) in enumerate(zip(names, found, strict=True)):
            height, width = image['size']
            entry = {'id': number, 'file_name': name, 'height': height, 'width': width}
            images.append(entry)
            for label, score, *box in image['boxes']:
                counts[self.classes[label]] += 1
                annotations.append(
                    {
                        'id': len(annotations) + 1,
                        'image_id': number,
                        'category_id': label,
                        'bbox': box,
                        'area': round(box[2] * box[3], _DIGITS),
                        'iscrowd': 0,
                        'score': score,
                    }
                )
        categories = [{'id': at, 'name': name} for at, name in enumerate(self.classes)]
        content = {
            'info': {'description': 'pseudo-labels'},
            'images': images,
            'annotations': annotations,
            'categories': categories,
        }
        write_json(folder / BOXES, content)
        labelled = sum(bool(image['boxes']) for image in found)
        return {'images': labelled, 'boxes': len(annotations), 'by_class': dict(counts)}


class MapWriter(Writer):
    """``labels/<image>.png``, or ``soft/<image>.npz``, and a list of the images.

    Raises: ConfigError for more classes than a label can name, or fewer than ``top_k``.
    """

    def __init__(
        self, labellers: Sequence[Labeller], options: PseudoLabelOptions
    ) -> None:
        super().__init__(labellers, options)
        number = len(self.classes)
        if number > IGNORED:
            raise ConfigError(f'labels are 0 to 254, got {number} classes.', 'teachers')
        if options.top_k is not None and options.top_k > number:
            raise ConfigError(
                f'top_k must be at most the {number} classes, got {options.top_k}.'
            )

    def write(
        self, folder: Path, names: Sequence[str], batch: Sequence[dict[str, Any]]
    ) -> Part:
        """Label a batch, and write a file for each of its images."""
        predictions = [
            view
            for labeller, data in zip(self.labellers, batch, strict=True)
            for view in labeller.probs(data)
        ]
        images = []
        for number, name in enumerate(names):
            probs = torch.stack([view[number] for view in predictions]).mean(dim=0)
            if self.options.top_k is not None:
                images.append(self._write_soft(folder, name, probs))
            else:
                images.append(self._write_hard(folder, name, probs))
        return {'images': images}

    def _write_hard(self, folder: Path, name: str, probs: torch.Tensor) -> Part:
        import cv2

        labels = label_map(probs, self.options.threshold).numpy()
        path = _made(folder / 'labels' / f'{stem(name)}.png')
        whole, encoded = cv2.imencode('.png', labels)
        assert whole
        with written(path) as part:
            part.write_bytes(encoded.tobytes())
        return {'kept': int((labels != IGNORED).sum()), 'pixels': labels.size}

    def _write_soft(self, folder: Path, name: str, probs: torch.Tensor) -> Part:
        assert self.options.top_k is not None
        classes, values = most_probable(probs, self.options.top_k)
        path = _made(folder / 'soft' / f'{stem(name)}.npz')
        with written(path) as part, part.open('wb') as file:
            np.savez_compressed(file, classes=classes.numpy(), probs=values.numpy())
        return {'kept': values[0].numel(), 'pixels': values[0].numel()}

    def assemble(
        self, folder: Path, names: Sequence[str], parts: Sequence[Part]
    ) -> Part:
        """Write ``images.txt``, of those with a label."""
        found = [image for part in parts for image in part['images']]
        labelled = [
            stem(name)
            for name, image in zip(names, found, strict=True)
            if image['kept']
        ]
        with written(folder / LIST) as part:
            part.write_text(''.join(f'{name}\n' for name in labelled))
        kept, pixels = (
            sum(image[key] for image in found) for key in ('kept', 'pixels')
        )
        return {'images': len(labelled), 'share of pixels': round(kept / pixels, 4)}


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _sizes(data: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Height and width of the images as they lie on disk."""
    samples = data['data_samples']
    if isinstance(samples[0], (list, tuple)):  # of several views
        samples = samples[0]
    return [tuple(sample.metainfo['ori_shape'][:2]) for sample in samples]
