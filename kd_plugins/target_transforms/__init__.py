"""What becomes of a teacher's logits, or of the weights of rows, before the loss."""

from kd_plugins.target_transforms._base import ComparedRows, TargetTransform
from kd_plugins.target_transforms.cwtm import CWTMTransform, confidence_weights
from kd_plugins.target_transforms.dkpp import DKPPTransform, permuted_logits
from kd_plugins.target_transforms.noisy_teacher import (
    NoisyTeacherTransform,
    noisy_logits,
)
from kd_plugins.target_transforms.std_scaling import StdScalingTransform, std_scaled

__all__ = [
    'CWTMTransform',
    'ComparedRows',
    'DKPPTransform',
    'NoisyTeacherTransform',
    'StdScalingTransform',
    'TargetTransform',
    'confidence_weights',
    'noisy_logits',
    'permuted_logits',
    'std_scaled',
]
