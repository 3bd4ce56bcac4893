"""The model wrapper, and how it is optimised and distributed."""

from .distiller import Distiller
from .mask_learner import MaskLearner
from .optimizer import DistillOptimWrapperConstructor
from .wrapper import DistillDistributedDataParallel

__all__ = [
    'DistillDistributedDataParallel',
    'DistillOptimWrapperConstructor',
    'Distiller',
    'MaskLearner',
]
