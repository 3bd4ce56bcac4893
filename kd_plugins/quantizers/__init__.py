"""Quantisers of weights and activations: values rounded, gradients let through."""

from kd_plugins.quantizers._base import (
    ActivationQuantizer,
    WeightQuantizer,
    frozen_ranges,
)
from kd_plugins.quantizers.bucketed import BucketedWeights, quantize_bucketed
from kd_plugins.quantizers.observed import ObservedActivations, affine_range
from kd_plugins.quantizers.points import (
    PointWeights,
    nearest_points,
    quantile_points,
    redistributed,
)
from kd_plugins.quantizers.ternary import TernaryWeights, quantize_ternary
from kd_plugins.quantizers.uniform import UniformWeights, quantize_uniform
from kd_plugins.quantizers.unit import (
    UnitActivations,
    UnitWeights,
    quantize_unit_activations,
    quantize_unit_weights,
)

__all__ = [
    'ActivationQuantizer',
    'BucketedWeights',
    'ObservedActivations',
    'PointWeights',
    'TernaryWeights',
    'UniformWeights',
    'UnitActivations',
    'UnitWeights',
    'WeightQuantizer',
    'affine_range',
    'frozen_ranges',
    'nearest_points',
    'quantile_points',
    'quantize_bucketed',
    'quantize_ternary',
    'quantize_uniform',
    'quantize_unit_activations',
    'quantize_unit_weights',
    'redistributed',
]
