"""Panels of segmentors: the class of each pixel, in the colours of the data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from PIL import Image

from ..errors import ConfigError
from .drawing import caption
from .layout import Colour
from .panels import SIDE, Sample, longest_side, read_image

Labels = NDArray[np.int64]
_NO_CLASS = (224, 224, 192)  # of unlabelled pixels, as in Pascal VOC
_UNLABELLED = 'not labelled'


class SegmentationTask:
    """Label maps beside the image. See :class:`Task`.

    Args:
        dataset: the test set, with its class names and their colours.
    """

    name = 'segmentation'
    counted = 'classes'

    def __init__(self, dataset: BaseDataset) -> None:
        self._classes = [str(name) for name in dataset.metainfo['classes']]
        self._palette = np.asarray(dataset.metainfo['palette'], np.uint8)
        self._shown: set[int] = set()

    def read(self, data: dict[str, Any]) -> Sample:
        """An image with its label map (H, W)."""
        sample = data['data_samples']
        if 'gt_sem_seg' not in sample:
            raise ConfigError(
                'test_dataloader.dataset.pipeline gives no label maps '
                "('LoadAnnotations' is missing, or the task is another one): there is "
                'no ground truth to show.'
            )
        labels = _labels(sample.gt_sem_seg)
        number = int((np.unique(labels) < len(self._classes)).sum())
        return Sample(read_image(sample.img_path), labels, number, data)

    def truth(self, samples: Sequence[Sample]) -> Mapping[str, list[Image.Image]]:
        """The images, and their label maps."""
        scale = _scale(samples)
        images = [
            _resized(Image.fromarray(sample.image), scale, labels=False)
            for sample in samples
        ]
        maps = [self._painted(sample.truth, scale) for sample in samples]
        return {'image': images, 'ground truth': maps}

    def predicted(
        self, samples: Sequence[Sample], results: Sequence[Any]
    ) -> list[Image.Image]:
        """Label maps, each with the share of correct pixels."""
        scale = _scale(samples)
        panels = []
        for sample, result in zip(samples, results, strict=True):
            labels = _labels(result.pred_sem_seg)
            right = share_right(labels, sample.truth, len(self._classes))
            panel = self._painted(labels, scale)
            panels.append(caption(panel, f'{100 * right:.0f} % of pixels right'))
        return panels

    def legend(self) -> Mapping[str, Colour]:
        """Colours of the classes that occur."""
        labels = [label for label in sorted(self._shown) if label < len(self._classes)]
        colours = {self._classes[label]: self._palette[label] for label in labels}
        legend = {name: (int(r), int(g), int(b)) for name, (r, g, b) in colours.items()}
        if len(labels) < len(self._shown):
            legend[_UNLABELLED] = _NO_CLASS
        return legend

    def _painted(self, labels: Labels, scale: float) -> Image.Image:
        self._shown.update(int(label) for label in np.unique(labels))
        painted = np.full((*labels.shape, 3), _NO_CLASS, np.uint8)
        labelled = labels < len(self._classes)
        painted[labelled] = self._palette[labels[labelled]]
        return _resized(Image.fromarray(painted), scale, labels=True)


def share_right(labels: Labels, truth: Labels, classes: int) -> float:
    """Share of the labelled pixels of the correct class; 1 without labelled pixels.

    Args:
        labels: predicted, (H, W).
        truth: (H, W); other labels than classes are left out.
        classes: number of classes.

    Example:
        >>> share_right(np.array([[0, 1, 1]]), np.array([[0, 0, 255]]), classes=2)
        0.5
    """
    labelled = truth < classes
    if not labelled.any():
        return 1.0
    return float((labels == truth)[labelled].mean())


def _labels(data: Any) -> Labels:
    labels: Labels = data.data.squeeze(0).cpu().numpy().astype(np.int64)
    return labels


def _scale(samples: Sequence[Sample]) -> float:
    """Scale of the panels; a whole number for images that are enlarged."""
    longest = longest_side(samples)
    return float(SIDE // longest) if longest <= SIDE else SIDE / longest


def _resized(image: Image.Image, scale: float, *, labels: bool) -> Image.Image:
    size = (round(image.width * scale), round(image.height * scale))
    sharp = labels or scale >= 1
    return image.resize(
        size, Image.Resampling.NEAREST if sharp else Image.Resampling.BOX
    )
