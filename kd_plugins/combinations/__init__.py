"""How what several teachers say of the same rows becomes what a student learns."""

from kd_plugins.combinations._base import Combination, MergedTeachers, WeighedLosses
from kd_plugins.combinations.confidence import (
    ConfidenceWeights,
    class_errors,
    confidence_weights,
)
from kd_plugins.combinations.entropy import (
    EntropyWeights,
    class_entropies,
    entropy_weights,
)
from kd_plugins.combinations.mean import MeanLogits, MeanLosses, MeanProbs, mean_probs

__all__ = [
    'Combination',
    'ConfidenceWeights',
    'EntropyWeights',
    'MeanLogits',
    'MeanLosses',
    'MeanProbs',
    'MergedTeachers',
    'WeighedLosses',
    'class_entropies',
    'class_errors',
    'confidence_weights',
    'entropy_weights',
    'mean_probs',
]
