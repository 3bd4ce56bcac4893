"""The host's segmentation metric, with an entry for each class."""

import math
from typing import Any

import numpy as np
from mmseg.evaluation.metrics import IoUMetric

from ...registry import METRICS


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """``IoUMetric`` of mmsegmentation, with a value for each class.

    The host's values and arguments are unchanged. 'mIoU' adds 'IoU.<class>' for each
    class, 'mDice' adds 'Dice.<class>', 'mFscore' adds 'Fscore.<class>': in percent,
    rounded as in the host's table. A class that is neither labelled nor predicted has
    no entry.
    """

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Metrics of all images.

        Args:
            results: of each image the areas (intersection, union, predicted,
                labelled), each of shape (K,), in pixels.
        """
        metrics: dict[str, float] = super().compute_metrics(results)
        if self.format_only:
            return metrics
        areas = [sum(area) for area in zip(*results, strict=True)]
        measures = self.total_area_to_metrics(
            *areas, self.metrics, self.nan_to_num, self.beta
        )
        means = [self.metrics] if isinstance(self.metrics, str) else self.metrics
        for mean in means:
            measure = mean.removeprefix('m')
            values = np.round(measures[measure] * 100, 2)
            for name, value in zip(self.dataset_meta['classes'], values, strict=True):
                if math.isfinite(value):
                    metrics[f'{measure}.{name}'] = round(float(value), 2)
        return metrics
