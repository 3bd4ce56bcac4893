"""Calibration of a model's confidences, as a metric of both hosts."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks.hook import DATA_BATCH
from torch import Tensor

from ...checks import check_float, check_int
from ...errors import ConfigError
from ...registry import METRICS
from ..fidelity import Boxes, calibration_bins, calibration_error
from ..fidelity.boxes import correct_boxes, plain_boxes


@METRICS.register_module()
class CalibrationMetric(BaseMetric):
    """Expected calibration error of a segmentor's pixels or a detector's boxes.

    ``calibration/ece``, from 0 to 1. For segmentors it is over all pixels that are not
    ignored, by the largest softmax probability. For detectors it is over all boxes with
    at least ``score_thr``; a box is correct if its IoU with an annotation of its label
    is at least 0.5, and each annotation matches once. Without predictions there is no
    entry. See
    :func:`~kd_plugins.evaluation.fidelity.calibration_error`.

    Args:
        bins: of confidence, of equal width, >= 1.
        ignore_index: label of the pixels that are left out.
        score_thr: lowest score of a box.

    Other arguments: as of any metric of the host.
    """

    default_prefix = 'calibration'

    def __init__(
        self,
        bins: int = 10,
        ignore_index: int = 255,
        score_thr: float = 0.3,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.bins = check_int('bins', bins)
        self.ignore_index = ignore_index
        self.score_thr = check_float('score_thr', score_thr)

    def process(
        self, data_batch: DATA_BATCH, data_samples: Sequence[dict[str, Any]]
    ) -> None:
        """Count the predictions of a batch.

        Args:
            data_batch: not used.
            data_samples: predictions and annotations, as the host's evaluator gives
                them.
        """
        for sample in data_samples:
            self.results.append(self._counted(sample).cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The error of all images.

        Args:
            results: of each image its counts, shape (3, bins).
        """
        counted = torch.stack(results).sum(dim=0)
        if not counted[0].sum():
            return {}
        return {'ece': float(calibration_error(counted))}

    def _counted(self, sample: dict[str, Any]) -> Tensor:
        if 'seg_logits' in sample:
            confidence, correct = self._pixels(sample)
        elif 'pred_instances' in sample:
            confidence, correct = self._boxes(sample)
        else:
            raise ConfigError(
                'CalibrationMetric needs seg_logits or pred_instances, got '
                f'{sorted(sample)}. Remove it from the evaluator.'
            )
        return calibration_bins(confidence, correct, bins=self.bins)

    def _pixels(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        logits = sample['seg_logits']['data'].float()
        if len(logits) == 1:  # the host gives the probability of the second class
            probs = torch.cat([1 - logits, logits])
        else:
            probs = logits.softmax(dim=0)
        labels = sample['gt_sem_seg']['data'].to(probs.device).squeeze(0)
        confidence, predicted = probs.max(dim=0)
        valid = labels != self.ignore_index
        return confidence[valid], (predicted == labels)[valid]

    def _boxes(self, sample: dict[str, Any]) -> tuple[Tensor, Tensor]:
        instances, annotations = (
            sample['pred_instances'],
            sample.get('gt_instances', {}),
        )
        if 'bboxes' not in annotations:
            raise ConfigError(
                'CalibrationMetric needs annotations: add LoadAnnotations with '
                "with_bbox=True to the validation dataset's pipeline, and gt_instances "
                'will be in the samples.'
            )
        boxes = Boxes(
            plain_boxes(instances['bboxes']), instances['labels'], instances['scores']
        )
        boxes = boxes.above(self.score_thr)
        labels = annotations['labels']
        scores = torch.ones(len(labels))
        truth = Boxes(plain_boxes(annotations['bboxes']), labels, scores)
        return boxes.scores, correct_boxes(boxes, truth)
