"""Gradients of each pair at the student, compared with the task's gradient."""

from .gradients import gradient_shares
from .shares import GradientShares, PairGradient, median_shares

__all__ = [
    'GradientShares',
    'PairGradient',
    'gradient_shares',
    'median_shares',
]
