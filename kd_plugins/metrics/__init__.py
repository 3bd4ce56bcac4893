"""What a validation tells. Each metric is a host's, and is there where the host is."""

from contextlib import suppress

# The registry imports this package in an environment without mmsegmentation, too.
with suppress(ImportError):
    from .classwise_iou import ClasswiseIoUMetric

__all__ = [
    'ClasswiseIoUMetric',
]
