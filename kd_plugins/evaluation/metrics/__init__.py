"""Metrics of a validation; the metrics of a host need that host."""

from contextlib import suppress

from .calibration import CalibrationMetric

# The registry also imports this package without mmsegmentation.
with suppress(ImportError):
    from .classwise_iou import ClasswiseIoUMetric

__all__ = [
    'CalibrationMetric',
    'ClasswiseIoUMetric',
]
