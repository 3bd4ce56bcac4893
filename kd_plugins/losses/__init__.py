"""Distillation losses: pure functions on tensors, and thin registered modules."""

from kd_plugins.losses._base import DistillationLoss, LossContext
from kd_plugins.losses.delta_l2 import DeltaL2Loss, delta_l2
from kd_plugins.losses.hint import HintLoss, hint_distance
from kd_plugins.losses.kd import KDLoss, softened_divergence
from kd_plugins.losses.logit_l2 import LogitL2Loss, logit_l2
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
    'HintLoss',
    'KDLoss',
    'LogitL2Loss',
    'LossContext',
    'TeacherBoundedLoss',
    'WeightedClassKDLoss',
    'delta_l2',
    'hint_distance',
    'logit_l2',
    'softened_divergence',
    'teacher_bounded_regression',
    'weighted_class_kd',
]
