"""How strongly each pair pulls at the student, beside the task's own losses."""

from .gradients import gradient_shares
from .shares import GradientShares, PairGradient, median_shares

__all__ = [
    'GradientShares',
    'PairGradient',
    'gradient_shares',
    'median_shares',
]
