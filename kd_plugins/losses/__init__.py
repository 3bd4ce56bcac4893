"""Distillation losses: pure functions on tensors, and thin registered modules."""

from kd_plugins.losses._base import DistillationLoss, ExtraOptimizer, LossContext
from kd_plugins.losses.delta_l2 import DeltaL2Loss, delta_l2
from kd_plugins.losses.hint import HintLoss, hint_distance
from kd_plugins.losses.holistic import (
    HolisticLoss,
    critic_objective,
    gradient_penalty,
)
from kd_plugins.losses.kd import KDLoss, softened_divergence
from kd_plugins.losses.logit_l2 import LogitL2Loss, logit_l2
from kd_plugins.losses.pair_wise import PairWiseLoss, pair_wise_affinity
from kd_plugins.losses.pixel_wise import PixelWiseLoss, pixel_wise_divergence
from kd_plugins.losses.teacher_bounded import (
    TeacherBoundedLoss,
    teacher_bounded_regression,
)
from kd_plugins.losses.weighted_class_kd import (
    WeightedClassKDLoss,
    weighted_class_kd,
)

__all__ = [
    'DeltaL2Loss',
    'DistillationLoss',
    'ExtraOptimizer',
    'HintLoss',
    'HolisticLoss',
    'KDLoss',
    'LogitL2Loss',
    'LossContext',
    'PairWiseLoss',
    'PixelWiseLoss',
    'TeacherBoundedLoss',
    'WeightedClassKDLoss',
    'critic_objective',
    'delta_l2',
    'gradient_penalty',
    'hint_distance',
    'logit_l2',
    'pair_wise_affinity',
    'pixel_wise_divergence',
    'softened_divergence',
    'teacher_bounded_regression',
    'weighted_class_kd',
]
