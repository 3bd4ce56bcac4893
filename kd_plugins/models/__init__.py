"""Models that train without a student: first stages of some methods."""

from ..hosts import required  # noqa: F401
from .mask_learner import MaskLearner

__all__ = ['MaskLearner']
