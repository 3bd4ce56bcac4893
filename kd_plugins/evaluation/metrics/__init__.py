"""What a validation tells. Metrics of a host are there where the host is."""

from contextlib import suppress

from .calibration import CalibrationMetric

# The registry imports this package in an environment without mmsegmentation, too.
with suppress(ImportError):
    from .classwise_iou import ClasswiseIoUMetric

__all__ = [
    'CalibrationMetric',
    'ClasswiseIoUMetric',
]
