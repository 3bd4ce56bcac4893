"""Quantised students: layers exchanged, calibrated, exported as int8."""

from ...hosts import required  # noqa: F401
from .calibrate import calibrate, check_calibrated
from .int8 import int8_copy, store_int8
from .layers import FoldedNorm, QuantizedConv2d, QuantizedLinear
from .model import quantized_layers, quantized_model

__all__ = [
    'FoldedNorm',
    'QuantizedConv2d',
    'QuantizedLinear',
    'calibrate',
    'check_calibrated',
    'int8_copy',
    'quantized_layers',
    'quantized_model',
    'store_int8',
]
