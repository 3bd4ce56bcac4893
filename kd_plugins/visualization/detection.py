"""Panels of detectors: boxes that are right, wrong or missed."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from PIL import Image

from ..errors import ConfigError
from .drawing import COLOURS, Mark, Objects, mark_predictions, mark_truth, paint
from .layout import Colour
from .panels import SIDE, Sample, longest_side, read_image

LEGEND = {
    'ground truth': COLOURS['ground truth'],
    'right (class and place, IoU 0.5)': COLOURS['right'],
    'wrong': COLOURS['wrong'],
    'missed': COLOURS['missed'],
}


class DetectionTask:
    """Boxes on the image. See :class:`Task`.

    Args:
        dataset: the test set, with its class names.
        score: the lowest score of a detection that is shown.
    """

    name = 'detection'
    counted = 'objects'

    def __init__(self, dataset: BaseDataset, score: float) -> None:
        self._classes = [str(name) for name in dataset.metainfo['classes']]
        self._score = score

    def read(self, data: dict[str, Any]) -> Sample:
        """An image with its :class:`Objects`."""
        sample = data['data_samples']
        if 'bboxes' not in sample.get('gt_instances', {}):
            raise ConfigError(
                "test_dataloader.dataset.pipeline has no 'LoadAnnotations': there is "
                'no ground truth to show.'
            )
        truth = sample.gt_instances
        boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
        objects = Objects(boxes.numpy().astype(float), truth.labels.numpy())
        return Sample(read_image(sample.img_path), objects, len(objects.labels), data)

    def truth(self, samples: Sequence[Sample]) -> Mapping[str, list[Image.Image]]:
        """All objects."""
        marks = [mark_truth(sample.truth, self._classes) for sample in samples]
        return {'ground truth': _painted(samples, marks)}

    def predicted(
        self, samples: Sequence[Sample], results: Sequence[Any]
    ) -> list[Image.Image]:
        """Detections, right or wrong, and missed objects."""
        marks = [
            mark_predictions(self._objects(result), sample.truth, self._classes)
            for sample, result in zip(samples, results, strict=True)
        ]
        return _painted(samples, marks)

    def legend(self) -> Mapping[str, Colour]:
        """Kinds of boxes."""
        return LEGEND

    def _objects(self, result: Any) -> Objects:
        instances = result.pred_instances
        instances = instances[instances.scores >= self._score].cpu()
        return Objects(
            instances.bboxes.numpy().astype(float),
            instances.labels.numpy(),
            instances.scores.numpy().astype(float),
        )


def _painted(
    samples: Sequence[Sample], marks: Sequence[Sequence[Mark]]
) -> list[Image.Image]:
    scale = max(1, SIDE // longest_side(samples))
    return [
        paint(sample.image, boxes, scale)
        for sample, boxes in zip(samples, marks, strict=True)
    ]
