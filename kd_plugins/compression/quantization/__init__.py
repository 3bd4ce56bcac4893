"""Quantised students: layers exchanged, calibrated, exported as int8."""

from ...hosts import required  # noqa: F401
from .calibrate import calibrate, check_calibrated
from .layers import FoldedNorm, QuantizedConv2d, QuantizedLinear
from .model import quantized_layers, quantized_model

__all__ = [
    'FoldedNorm',
    'QuantizedConv2d',
    'QuantizedLinear',
    'calibrate',
    'check_calibrated',
    'quantized_layers',
    'quantized_model',
]
