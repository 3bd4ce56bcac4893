"""Models that train without a student: first stages of some methods."""

from .mask_learner import MaskLearner

__all__ = ['MaskLearner']
